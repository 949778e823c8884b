"""The normal numbers that a CUDA device's generator draws, computed on the CPU.

torch draws them with cuRAND's Philox 4×32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): each
element of a tensor has a counter of its own, so that no number depends on another. Knows no tensor and no sampler.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_ROUNDS = 10
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(32)

_Words = npt.NDArray[np.uint64]
"""Whole numbers of 32 bits, with room for their products."""


def cuda_normals(seed: int, draw: int, count: int) -> npt.NDArray[np.float32]:
    """Return what ``torch.randn(count, device="cuda")`` gives at call ``draw``, from 0, after ``manual_seed(seed)``.

    float32, (count,); ``seed`` is 0 … 2⁶⁴−1. Equal up to the last bits, which depend on how a card computes logarithms
    and sines. Of more than ``MOST_CUDA_NUMBERS`` a card has an order of its own; AUTOMATIC1111's ``NV`` has this one.
    """
    element = np.arange(count, dtype=np.uint64)
    zeros = np.zeros_like(element)
    first, second = _philox((zeros + np.uint64(draw & 0xFFFFFFFF), zeros + np.uint64(draw >> 32), element, zeros), seed)
    return _box_muller(first, second)


def _philox(counter: tuple[_Words, _Words, _Words, _Words], seed: int) -> tuple[_Words, _Words]:
    """The first two of the four words that a counter gives under the key ``seed``."""
    one, two, three, four = counter
    keys = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(_ROUNDS):
        low, high = one * _MULTIPLIERS[0], three * _MULTIPLIERS[1]
        one, two, three, four = (
            (high >> _HIGH) ^ two ^ np.uint64(keys[0]),
            high & _LOW,
            (low >> _HIGH) ^ four ^ np.uint64(keys[1]),
            low & _LOW,
        )
        keys = (keys[0] + _WEYL[0]) & 0xFFFFFFFF, (keys[1] + _WEYL[1]) & 0xFFFFFFFF
    return one, two


def _box_muller(first: _Words, second: _Words) -> npt.NDArray[np.float32]:
    """One normal number from two uniform ones, rounded where a card rounds: its angles have 24 bits."""
    unit = np.float64(2.0**-32)
    turn = np.float64(np.float32(2 * np.pi)) * unit
    u = (first.astype(np.float32).astype(np.float64) * unit + unit / 2).astype(np.float32)
    v = (second.astype(np.float32).astype(np.float64) * turn + turn / 2).astype(np.float32)
    length = np.sqrt(-2.0 * np.log(u.astype(np.float64)))
    return (length * np.sin(v.astype(np.float64))).astype(np.float32)
