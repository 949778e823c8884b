"""The parameters of a checkpoint's networks: their names, in the modules and in the file, and their shapes.

Read from a file's header and remembered while the file stays as it is; no weights are read.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.checkpoint.contents import read_contents
from engine.checkpoint.shapes import Blueprint, LayoutError
from engine.checkpoint.weights import open_weights
from engine.errors import BrokenCheckpoint

NetworkKind = Literal["unet", "text_encoder"]
"""The networks that adapters change and merges mix."""


@dataclass(frozen=True, eq=False)
class Structure:
    """The parameters of one network."""

    names: Mapping[str, str]
    """The module's name for each → the file's."""
    shapes: Mapping[str, tuple[int, ...]]
    """By the module's name, as the module has them."""
    widths: tuple[int, ...]
    """Channels of each level, full resolution first."""


def structures_of(path: Path) -> Mapping[NetworkKind, Structure]:
    """Return what the checkpoint in ``path`` holds. Raises what ``inspect_checkpoint`` raises."""
    try:
        status = path.stat()
    except OSError:
        open_weights(path, values=False)  # which says what is wrong with it
        raise
    return _structures(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=16)
def _structures(path: Path, changed_ns: int, size: int) -> Mapping[NetworkKind, Structure]:
    weights = open_weights(path, values=False)
    try:
        contents = read_contents(weights.shapes, weights.dtypes)
    except LayoutError as error:
        raise BrokenCheckpoint(path, str(error)) from None
    return {"unet": _structure(contents.unet), "text_encoder": _structure(contents.text_encoder)}


def _structure(blueprint: Blueprint | None) -> Structure:
    if blueprint is None:
        return Structure(names={}, shapes={}, widths=())
    shapes = {name: tuple(parameter.shape) for name, parameter in blueprint.module.named_parameters()}
    return Structure(names=blueprint.names, shapes=shapes, widths=blueprint.widths)
