"""A network as a sequence of bounded steps, each of which says beforehand how much it computes.

Between two steps others may use the device. Which steps there are depends on shapes alone, so that a result has the
same bits however long others took in between. Knows no network.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from engine.networks.operations import Operations, tokens

T = TypeVar("T")

Steps: TypeAlias = Generator[int, None, Tensor]
"""Yields the number of multiplications that it makes next, and returns what it made."""

MOST = {"cpu": 1 << 33, "cuda": 1 << 41}
"""Multiplications of a slice, by the kind of device: a quarter of a second of a processor, milliseconds of a GPU."""

_UNCUT = 512 * 512
"""Pixels of the largest pictures whose layers are never cut into strips, which costs more than it gives to others."""

_PIXELS_PER_CELL = 64


def completed(steps: Generator[Any, None, T]) -> T:
    """Return what ``steps`` make, without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: T = end.value
            return made


def in_slices(steps: Generator[int, None, T], device: torch.device) -> Generator[None, None, T]:
    """Return what ``steps`` make; yields before a step with which there would be too much in one go."""
    done, most = 0, _most(device)
    while True:
        try:
            coming = next(steps)
        except StopIteration as end:
            made: T = end.value
            return made
        if done and done + coming > most:
            yield
            done = 0
        done += coming


def convolve(operations: Operations, x: Tensor, layer: nn.Conv2d, *, bias: bool = True) -> Steps:
    """``layer`` of pictures; in strips where it is more than a step and each pixel meets only its neighbours."""
    local = layer.kernel_size == (3, 3) and layer.stride == (1, 1)
    return in_strips(lambda part: operations.convolve(part, layer, bias=bias), x, _work(x, layer), local=local)


def convolve_doubled(operations: Operations, x: Tensor, layer: nn.Conv2d) -> Steps:
    """``Operations.convolve_doubled``, in strips where it is more than a step."""
    return in_strips(lambda part: operations.convolve_doubled(part, layer), x, _work(x, layer), factor=2)


def residual(operations: Operations, layer: Any, x: Tensor) -> Steps:
    """A residual block (He et al. 2015, arXiv 1512.03385) without a time, over the weights of diffusers' module."""
    hidden = operations.group_norm(x, layer.norm1)
    hidden = yield from convolve(operations, hidden, layer.conv1, bias=False)
    hidden = operations.group_norm(hidden, layer.norm2, shift=layer.conv1.bias)
    around = x if layer.conv_shortcut is None else operations.convolve(x, layer.conv_shortcut)
    if _is_cut(hidden, _work(hidden, layer.conv2)):
        return (yield from convolve(operations, hidden, layer.conv2)) + around
    yield _work(hidden, layer.conv2)
    return operations.convolve_add(hidden, layer.conv2, around)


def attend(operations: Operations, layer: Any, x: Tensor) -> Steps:
    """Return ``x`` plus the attention of its pixels to each other, some at a time where it is more than a step."""
    normed = tokens(operations.group_norm(x, layer.group_norm, silu=False))
    q, k, v = (operations.linear(normed, part.weight, part.bias) for part in (layer.to_q, layer.to_k, layer.to_v))
    rows, count, width = q.shape
    work = 2 * rows * count * width  # of one pixel
    at_once = count if count <= _UNCUT // _PIXELS_PER_CELL else max(1, _most(x.device) // work)
    parts = []
    for part in q.split(min(count, at_once), dim=1):
        yield part.shape[1] * work
        parts.append(operations.attend(part, k, v, 1))
    out = layer.to_out[0]
    attended = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    return operations.pictures(operations.linear(attended, out.weight, out.bias), x) + x


def in_strips(
    compute: Callable[[Tensor], Tensor], x: Tensor, work: int, *, factor: int = 1, local: bool = True
) -> Steps:
    """``compute`` of pictures, which enlarges them by ``factor``; in strips if it takes long and is ``local``.

    That is: what it makes of a pixel depends on the pixel's neighbours alone, and beyond the border are zeros.
    """
    if not local or not _is_cut(x, work):
        yield work
        return compute(x)
    height = x.shape[2]
    strip = max(1, height * _most(x.device) // work)
    whole: Tensor | None = None
    for top in range(0, height, strip):
        bottom = min(top + strip, height)
        yield work * (bottom - top) // height
        above, below = min(top, 1), min(height - bottom, 1)  # a row of neighbours, or of zeros at the border
        part = pad(x[:, :, top - above : bottom + below], (0, 0, 1 - above, 1 - below))
        made = compute(part)
        if whole is None:
            size = (*made.shape[:2], height * factor, made.shape[3])
            by_pixels = made.is_contiguous(memory_format=torch.channels_last)
            layout = torch.channels_last if by_pixels else torch.contiguous_format
            whole = torch.empty(size, dtype=made.dtype, device=made.device, memory_format=layout)
        whole[:, :, top * factor : bottom * factor] = made[:, :, factor:-factor]
    assert whole is not None
    return whole


def _is_cut(x: Tensor, work: int) -> bool:
    return work > _most(x.device) and x.shape[2] * x.shape[3] > _UNCUT


def _most(device: torch.device) -> int:
    return MOST.get(device.type, MOST["cuda"])


def _work(x: Tensor, layer: nn.Conv2d) -> int:
    """Multiplications of ``layer`` of ``x``, about."""
    pixels = x.shape[0] * x.shape[2] * x.shape[3] // (layer.stride[0] * layer.stride[1])
    return pixels * layer.out_channels * layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
