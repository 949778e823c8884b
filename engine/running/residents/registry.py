"""Node class → what loads it: how weights become resident, how large they are, and what they share tensors with.

To have nodes of a class ``K(Weights)`` resident, register one function and nothing else:

    @resident(K, size=lambda node, tools: Path(node.name).stat().st_size)
    def load_k(node: K, tools: Tools) -> Anything: ...

``node.name``, a ``FileName``, is a path here. What the function returns is what ``bench[node]`` gives while a workflow
that uses the node is carried out. It runs on the pool's thread, beside the one that samples. Knows no node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from engine.running.residents.tools import Tools
from engine.workflow.weights import Weights

W = TypeVar("W", bound=Weights)


class Load(Protocol):
    """Loads a node; ``bases`` are the resident values of those that ``bases_of`` gives."""

    def __call__(self, node: Any, tools: Tools, /, *bases: Any) -> Any: ...


@dataclass(frozen=True)
class Resident:
    """How nodes of one class become resident."""

    load: Load
    size: Callable[[Any, Tools], int]
    """The bytes that it takes beside its bases, read from the files' headers."""
    bases: Callable[[Any], tuple[Weights, ...]]
    """The nodes whose tensors it shares: resident as long as it is."""


_RESIDENTS: dict[type[Weights], Resident] = {}


def resident(
    kind: type[W], *, size: Callable[[W, Tools], int], bases: Callable[[W], tuple[Weights, ...]] = lambda _: ()
) -> Callable[[Load], Load]:
    """Register the decorated function as the one that loads nodes of ``kind``.

    The function and ``size`` raise ``BrokenCheckpoint`` for a file that is not what it should be.
    """

    def registered(function: Load) -> Load:
        assert kind not in _RESIDENTS, kind
        _RESIDENTS[kind] = Resident(function, size, bases)
        return function

    return registered


def resident_kind(node: Weights) -> Resident:
    """Return how ``node`` becomes resident."""
    return _RESIDENTS[type(node)]
