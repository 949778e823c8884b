"""Seed → start noise and step noise, the same on every device.

All noise is drawn on the CPU, from generators of its own. Knows no sampler, and of a schedule only the ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from engine.device.transfer import to_device


class StepNoise(Protocol):
    """The noise that a sampler draws on; ``NoiseSource`` is the real one."""

    def white(self) -> Tensor:
        """Unit noise of x's shape, independent at each call."""

    def brownian(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """Unit noise of x's shape: the increment of one Brownian path from ``sigma`` to the smaller ``sigma_next``."""


def start_noise(seed: int, shape: Sequence[int], indices: Sequence[int] | None = None) -> Tensor:
    """Unit noise for a batch of ``shape``, float32 on the CPU; ``seed`` is 0 … 2⁶⁴−1, of which torch reads 32 bits.

    Without ``indices`` the batch is drawn as one tensor. With them, one for each picture, the pictures 0 … the largest
    index are drawn one after the other and picked: what LatentFromBatch keeps is painted as it would be in its batch.
    The two agree only where a picture has a multiple of 16 numbers, because torch draws normals in blocks of 16.
    """
    generator = torch.Generator().manual_seed(seed)
    if indices is None:
        return torch.randn(tuple(shape), generator=generator)
    wanted, pictures = set(indices), {}
    for index in range(max(wanted) + 1):
        picture = torch.randn((1, *shape[1:]), generator=generator)
        if index in wanted:
            pictures[index] = picture
    return torch.cat([pictures[index] for index in indices])


class NoiseSource:
    """The step noise of one trajectory whose x has ``shape`` and lies on ``device``. Float32.

    White noise comes from ``seed + 1`` (modulo 2⁶⁴), so that it differs from the start noise; Brownian noise from a
    path over the positive ``sigmas``, seeded with ``seed``.
    """

    def __init__(self, seed: int, sigmas: Tensor, shape: Sequence[int], device: torch.device | str = "cpu") -> None:
        self._seed = seed
        self._sigmas = sigmas
        self._shape = tuple(shape)
        self._device = torch.device(device)

    def white(self) -> Tensor:
        return self._to_device(torch.randn(self._shape, generator=self._generator))

    def brownian(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """``sigma`` and ``sigma_next`` are 0-dim float32 on the CPU; the path depends on their last bit."""
        increment = self._path(float(sigma_next)) - self._path(float(sigma))  # the sampler's time runs backwards
        return self._to_device(increment.float() / (sigma - sigma_next).abs().sqrt())

    def _to_device(self, noise: Tensor) -> Tensor:
        return to_device(noise, self._device)

    @cached_property
    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed((self._seed + 1) % 2**64)

    @cached_property
    def _path(self) -> _BrownianPath:
        positive = self._sigmas[self._sigmas > 0]
        return _BrownianPath(self._seed, float(positive.min()), float(positive.max()), self._shape)


class _BrownianPath:
    """W(t) − W(begin) for t in [begin, end]: the tree of ``torchsde.BrownianTree``, number for number.

    Each interval is split in its middle by a Brownian bridge (Li et al. 2020, arXiv 2001.01328, algorithm 3). The
    bridge's noise is seeded by the interval's place in the tree, so that the path does not depend on the times asked
    for. Times are rounded to six decimals; there are no smaller intervals. torchsde, which adds up all the intervals
    between two times, takes more than twice as long.
    """

    def __init__(self, seed: int, begin: float, end: float, shape: tuple[int, ...]) -> None:
        self._seed = seed
        self._shape = shape
        self._begin, self._end = _rounded(begin), _rounded(end)
        self._whole = self._noise() * math.sqrt(end - begin)
        self._latest: dict[float, Tensor] = {}

    def __call__(self, time: float) -> Tensor:
        """Float64, since two of these are subtracted."""
        time = _rounded(time)
        if time not in self._latest:
            while len(self._latest) >= 3:  # a step asks for no more than its two ends and its middle
                del self._latest[next(iter(self._latest))]
            self._latest[time] = self._descend(time)
        return self._latest[time]

    def _descend(self, time: float) -> Tensor:
        begin, end, increment, place, depth = self._begin, self._end, self._whole, 0, 0
        before = torch.zeros(self._shape, dtype=torch.float64)
        if time in (begin, end):
            return before if time == begin else before + increment
        while True:
            middle = _rounded(0.5 * (end + begin))
            left, right, per_length = middle - begin, end - middle, 1 / (end - begin)
            bridge = left * increment * per_length + math.sqrt(left * right * per_length) * self._noise(place, depth)
            if time == middle:
                return before + bridge
            if time < middle:
                end, increment, place = middle, bridge, 2 * place
            else:
                before = before + bridge
                begin, increment, place = middle, increment - bridge, 2 * place + 1
            depth += 1

    def _noise(self, *place: int) -> Tensor:
        (seed,) = np.random.SeedSequence(self._seed, spawn_key=place, pool_size=24).generate_state(1)
        return torch.randn(self._shape, generator=torch.Generator().manual_seed(int(seed)))


def _rounded(time: float) -> float:
    return round(time, 6)
