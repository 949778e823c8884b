"""A source → the resident thing that it stands for, on the pool's thread, beside the one that samples.

Knows no kind of weights: ``engine.running.residents`` does; knows nothing of requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from engine.config import EngineConfig
from engine.device.devices import settle
from engine.errors import UnknownCheckpoint
from engine.running.residents import Tools, resident_kind
from engine.running.sources import Source, Stamp
from engine.workflow.weights import Weights, located, paths_of

if TYPE_CHECKING:
    from engine.running.chores import Chore
    from engine.running.model import Model


class Loader:
    """Makes what an engine's pool holds, one thing at a time."""

    def __init__(
        self,
        config: EngineConfig,
        device: torch.device,
        dtype: torch.dtype,
        offer: Callable[[Model, Sequence[Chore]], None],
    ) -> None:
        """``offer`` is handed each model with graphs, and its chores."""
        self.tools = Tools(config, device, dtype, offer)

    def size_of(self, source: Source) -> int:
        """Bytes that it takes at work, beside its bases. Raises what reading its files' headers raises."""
        node = _node(source)
        return resident_kind(node).size(node, self.tools)

    def make(self, source: Source, bases: tuple[Any, ...]) -> Any:
        """Load it. Raises ``BrokenCheckpoint`` and ``OutOfMemory``."""
        node = _node(source)
        settle(self.tools.device)
        with self.tools.aside.work():
            return resident_kind(node).load(node, self.tools, *bases)


def source_of(node: Weights) -> Source:
    """Return what ``node``, which is located, is made from, as its files are now. Raises ``UnknownCheckpoint``."""
    bases = tuple(map(source_of, resident_kind(node).bases(node)))
    stamps = tuple(_stamp(Path(path)) for path in paths_of(node))
    key = located(node, lambda path, _: str(Path(path or "").resolve()))  # a file with two names is one thing
    return Source(key, stamps, bases, node)


def _node(source: Source) -> Weights:
    assert isinstance(source.what, Weights)
    return source.what


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise UnknownCheckpoint("model", path.name, f"a readable file ({error.strerror})") from None
    return Stamp(path.resolve(), status.st_mtime_ns, status.st_size)
