"""Masks, blurred: 8 bits, on the CPU. Knows no nodes and no device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOBE = 2.5
"""How many standard deviations of a Gaussian count, each way."""

_UNIT = 256
"""What the weights of a blur add up to."""


def blurred(mask: NDArray[numpy.uint8], x: int, y: int) -> NDArray[numpy.uint8]:
    """Return ``mask`` (h, w), blurred by Gaussians with standard deviations of ``x`` and ``y`` pixels; 0 leaves it.

    As OpenCV's ``GaussianBlur`` with a kernel of 2 · int(2.5 · deviation + 0.5) + 1, to the last bit: weights are whole
    256ths, the border is mirrored without its outermost row, and the result rounded after each direction.
    """
    return _blurred_down(_blurred_down(mask.T, x).T, y)


def _blurred_down(mask: NDArray[numpy.uint8], deviation: int) -> NDArray[numpy.uint8]:
    if deviation == 0:
        return mask
    weights = _weights(deviation)
    reach = len(weights) // 2
    padded = numpy.pad(mask, ((reach, reach), (0, 0)), mode="reflect").astype(numpy.int32)
    total = numpy.full(mask.shape, _UNIT // 2, dtype=numpy.int32)
    for place, weight in enumerate(weights):
        total += padded[place : place + mask.shape[0]] * weight
    return (total // _UNIT).astype(numpy.uint8)


def _weights(deviation: int) -> list[int]:
    """The kernel in 256ths: from its ends inwards each weight is rounded with what rounding left of the ones before,
    and the middle has the rest."""
    reach = int(_LOBE * deviation + 0.5)
    bell = numpy.exp(-(numpy.arange(-reach, reach + 1, dtype=numpy.float64) ** 2) / (2 * deviation**2))
    side, rest = [], 0.0
    for weight in bell[:reach] / bell.sum() * _UNIT:
        side.append(round(weight + rest))
        rest += weight - side[-1]
    return [*side, _UNIT - 2 * sum(side), *reversed(side)]
