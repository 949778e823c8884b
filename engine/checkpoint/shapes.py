"""What the shapes of a file's tensors tell: sizes, counts and the names of a module's parameters.

The tools that ``engine.checkpoint.layout`` reads networks with. Knows no network.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Shapes = Mapping[str, tuple[int, ...]]

_MOST_CHILDREN = 100  # far more than any network has; a hostile file is not to keep us busy for hours


class LayoutError(Exception):
    """The tensors are not those of a network that can be built; the message says what was found or missing."""


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """One network of a file, as the shapes of its tensors describe it."""

    module: nn.Module
    """On the meta device: without weights."""
    names: dict[str, str]
    """The name in the file of each of the module's parameters."""
    owns: tuple[str, ...]
    """Prefixes below which the file may hold nothing but the module's tensors."""
    widths: tuple[int, ...]
    """Channels of each level, full resolution first; of the text encoder, its one width."""
    layers: int = 0
    """Layers of the text encoder."""
    context: int = 0
    """Features per token that the UNet takes, or that the text encoder gives."""


def vote(shapes: Shapes, what: str, axes: Iterable[tuple[str, int]]) -> int:
    """Return the size that most of the ``(tensor, axis)`` agree on, so that one wrong tensor is found to be the wrong
    one."""
    sizes = [(shapes[name][axis], name) for name, axis in axes if name in shapes and axis < len(shapes[name])]
    if not sizes:
        raise LayoutError(f"{what} is unknown: the tensors that would show it are missing")
    return Counter(size for size, _ in sizes).most_common(1)[0][0]


def outputs(prefix: str, *layers: str) -> list[tuple[str, int]]:
    """Return the ``(tensor, axis)`` pairs that tell how many values these layers give."""
    return [(f"{prefix}{layer}.{kind}", 0) for layer in layers for kind in ("weight", "bias")]


def count(shapes: Shapes, prefix: str) -> int:
    """Return how many numbered children ``prefix`` has: at most 100, numbered from 0 without a gap."""
    pattern = re.compile(re.escape(prefix) + r"([0-9]{1,6})\.")
    found = {int(match[1]) for match in map(pattern.match, shapes) if match}
    if len(found) > _MOST_CHILDREN:
        raise LayoutError(f"it has {len(found)} of {prefix}…, more than {_MOST_CHILDREN}")
    gap = next((number for number in range(len(found)) if number not in found), None)
    if gap is not None:
        raise LayoutError(f"every tensor of {prefix}{gap} is missing")
    return len(found)


def has(shapes: Shapes, prefix: str) -> bool:
    """Return whether any tensor's name begins with ``prefix``."""
    return any(name.startswith(prefix) for name in shapes)


def multiple(what: str, size: int, of: int, why: str) -> int:
    """Return ``size``, which must be a multiple of ``of`` for the reason ``why``."""
    if size < of or size % of:
        raise LayoutError(f"{what} is {size}; it must be a multiple of {of} ({why})")
    return size


def built(what: str, kind: Callable[..., nn.Module], **sizes: Any) -> nn.Module:
    """Return a module of this kind on the meta device: without weights, and whatever its size, at once."""
    try:
        with torch.device("meta"):
            return kind(**sizes)
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise LayoutError(f"its {what} cannot be built with the sizes of its tensors ({error})") from error


def file_names(
    module: nn.Module, prefix: str, places: Mapping[str, str], layers: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Each parameter's name in the file.

    ``places`` says where a submodule of ``module`` lies in the file, below ``prefix``; ``layers`` renames the
    layer that follows the place. Of several places the longest counts.
    """

    def file_name(parameter: str) -> str:
        place = parameter
        while place not in places:
            assert place, f"no place for {parameter}"
            place = place.rpartition(".")[0]
        layer, _, kind = parameter.removeprefix(place + ".").partition(".")
        layer = (layers or {}).get(layer, layer)
        return f"{prefix}{places[place]}.{layer}" + (f".{kind}" if kind else "")

    return {parameter: file_name(parameter) for parameter, _ in module.named_parameters()}
