"""The shapes of a file's tensors → its T2I-adapter, without weights. Knows the names that people's files have."""

from __future__ import annotations

from engine.checkpoint.shapes import Blueprint, LayoutError, Shapes, built, count, has
from engine.networks.t2i_adapter import CELL, AdapterLayers, Step

_LEVELS = 4
_PREFIX = "adapter."
_BLOCK = ("block1", "block2", "skep")
_LARGER_CELLS = (256, 768)
"""Channels of 16 × 16 pixels, grey or in colour."""


def read_adapter(shapes: Shapes) -> Blueprint:
    """Return the T2I-adapter that tensors of these shapes make. Raises ``LayoutError``."""
    prefix = _PREFIX if has(shapes, _PREFIX) else ""
    body, entrance = f"{prefix}body.", f"{prefix}conv_in"
    kernels = {name.removesuffix(".weight"): shape for name, shape in shapes.items() if name.endswith(".weight")}
    places = {"entrance": entrance} if entrance in kernels else {}
    levels: list[list[Step]] = []
    for number, layers in enumerate(_layers(shapes, body)):
        levels.append([])
        for layer in layers:
            place = f"levels.{number}.{len(levels[-1])}"
            parts = [part for part in _BLOCK if f"{layer}.{part}" in kernels]
            places |= {f"{place}.{part}": f"{layer}.{part}" for part in parts} if parts else {place: layer}
            block = {part: _checked(f"{layer}.{part}", kernels) for part in parts}
            levels[-1].append(block if parts else _checked(layer, kernels))
    first = _checked(entrance, kernels) if places.get("entrance") else _first(levels)
    _check_channels(first[1])
    module = built("T2I-adapter", AdapterLayers, entrance=first if "entrance" in places else None, levels=levels)
    names = {}
    for parameter, _ in module.named_parameters():
        layer, _, kind = parameter.rpartition(".")
        names[parameter] = f"{places[layer]}.{kind}"
    return Blueprint(module=module, names=names, owns=(body, entrance), widths=tuple(_width(level) for level in levels))


def _layers(shapes: Shapes, body: str) -> list[list[str]]:
    """The names of each level's layers, in the order in which they are run: convolutions and residual blocks."""
    groups = count(shapes, body)
    if not groups or groups % _LEVELS:
        raise LayoutError(f"the T2I-adapter has {groups} blocks, which do not make {_LEVELS} levels")
    levels: list[list[str]] = [[] for _ in range(_LEVELS)]
    for group in range(groups):
        level, name = levels[group * _LEVELS // groups], f"{body}{group}"
        level += [f"{name}.in_conv"] if has(shapes, f"{name}.in_conv.") else []
        inner = next((inner for inner in (f"{name}.resnets.", f"{name}.body.") if has(shapes, inner)), None)
        level += [name] if inner is None else [f"{inner}{i}" for i in range(count(shapes, inner))]
        level += [f"{name}.out_conv"] if has(shapes, f"{name}.out_conv.") else []
    return levels


def _checked(layer: str, kernels: Shapes) -> tuple[int, ...]:
    """The shape of a convolution's weight."""
    shape = kernels.get(layer)
    if shape is None or len(shape) != 4 or 0 in shape:
        found = "is missing" if shape is None else f"has shape {shape}, where that of a convolution was expected"
        raise LayoutError(f"its tensor {layer}.weight {found}")
    return shape


def _first(levels: list[list[Step]]) -> tuple[int, ...]:
    first = levels[0][0]
    if not isinstance(first, tuple):
        raise LayoutError("the T2I-adapter has no convolution before its first block")
    return first


def _check_channels(channels: int) -> None:
    if channels in _LARGER_CELLS:
        raise LayoutError("it is a T2I-adapter for Stable Diffusion XL")
    if channels not in (CELL**2, 3 * CELL**2):
        raise LayoutError(f"the T2I-adapter takes {channels} channels, where {CELL**2} or {3 * CELL**2} were expected")


def _width(level: list[Step]) -> int:
    """The channels of what a level gives."""
    last = level[-1]
    return last[0] if isinstance(last, tuple) else last["block2"][0] if "block2" in last else 0
