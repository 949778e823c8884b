"""Seed → start noise and step noise, the same on every device.

All noise is computed on the CPU, from generators of its own: torch's CPU generator, or the one of a CUDA device, which
``philox`` imitates. Knows no sampler, and of a schedule only the ends.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from engine.device.transfer import to_device
from engine.sampling.devices import NoiseDevice
from engine.sampling.philox import cuda_normals


class StepNoise(Protocol):
    """The noise that a sampler draws on; ``NoiseSource`` is the real one."""

    def white(self) -> Tensor:
        """Return unit noise of x's shape, independent at each call."""

    def brownian(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """Return unit noise of x's shape: the increment of one Brownian path from ``sigma`` to the smaller
        ``sigma_next``."""


def start_noise(
    seed: int, shape: Sequence[int], indices: Sequence[int] | None = None, *, drawn_on: NoiseDevice = "cpu"
) -> Tensor:
    """Return unit noise for a batch of ``shape``, float32 on the CPU; ``seed`` is 0 … 2⁶⁴−1, of which a CPU reads 32
    bits.

    Without ``indices`` the batch is drawn as one tensor. With them, one for each picture, the pictures 0 … the largest
    index are drawn one after the other and picked: what LatentFromBatch keeps is painted as it would be in its batch.
    The two agree only where a picture has a multiple of 16 numbers, because torch draws normals in blocks of 16.
    """
    draw = drawing(seed, drawn_on)
    if indices is None:
        return draw(shape)
    wanted, pictures = set(indices), {}
    for index in range(max(wanted) + 1):
        picture = draw((1, *shape[1:]))
        if index in wanted:
            pictures[index] = picture
    return torch.cat([pictures[index] for index in indices])


def behind_start_noise(seed: int, shape: Sequence[int], indices: Sequence[int] | None = None) -> torch.Generator:
    """Return the CPU's generator as ``start_noise`` leaves it: what ComfyUI draws random choices of patches from."""
    generator = torch.Generator().manual_seed(seed)
    if indices is None:
        torch.randn(tuple(shape), generator=generator)
    for _ in range(0 if indices is None else max(indices) + 1):
        torch.randn((1, *shape[1:]), generator=generator)
    return generator


class NoiseSource:
    """The step noise of one trajectory whose x has ``shape`` and lies on ``device``. Float32.

    White noise ``drawn_on`` a CPU comes from ``seed + 1`` (modulo 2⁶⁴), so that it differs from the start noise; on a
    CUDA device, as in ComfyUI, from ``seed`` itself. Brownian noise comes from a path over the positive ``sigmas``,
    seeded with ``seed``, whose numbers are drawn on a CPU even so unless ``path_drawn_on`` says otherwise.
    """

    def __init__(
        self,
        seed: int,
        sigmas: Tensor,
        shape: Sequence[int],
        device: torch.device | str = "cpu",
        *,
        drawn_on: NoiseDevice = "cpu",
        path_drawn_on: NoiseDevice = "cpu",
    ) -> None:
        self._drawn_on: NoiseDevice = drawn_on
        self._path_drawn_on: NoiseDevice = path_drawn_on
        self._seed = seed
        self._sigmas = sigmas
        self._shape = tuple(shape)
        self._device = torch.device(device)

    def white(self) -> Tensor:
        return self._to_device(self._draw(self._shape))

    def brownian(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """Return an increment of the path, which depends on the last bit of both; they are 0-dim float32 on the CPU."""
        increment = self._path(float(sigma_next)) - self._path(float(sigma))  # the sampler's time runs backwards
        return self._to_device(increment.float() / (sigma - sigma_next).abs().sqrt())

    def _to_device(self, noise: Tensor) -> Tensor:
        return to_device(noise, self._device)

    @cached_property
    def _draw(self) -> Callable[[Sequence[int]], Tensor]:
        return drawing(self._seed if self._drawn_on == "cuda" else (self._seed + 1) % 2**64, self._drawn_on)

    @cached_property
    def _path(self) -> BrownianPath:
        positive = self._sigmas[self._sigmas > 0]
        ends = float(positive.min()), float(positive.max())
        return BrownianPath(self._seed, *ends, self._shape, self._path_drawn_on)


class BrownianPath:
    """W(t) − W(begin) for t in [begin, end]: the tree of ``torchsde.BrownianTree``, number for number.

    Each interval is split in its middle by a Brownian bridge (Li et al. 2020, arXiv 2001.01328, algorithm 3). The
    bridge's noise is seeded by the interval's place in the tree, so that the path does not depend on the times asked
    for. Times are rounded to six decimals; there are no smaller intervals. torchsde, which adds up all the intervals
    between two times, takes more than twice as long.
    """

    def __init__(self, seed: int, begin: float, end: float, shape: tuple[int, ...], drawn_on: NoiseDevice) -> None:
        self._seed = seed
        self._drawn_on: NoiseDevice = drawn_on
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
        return drawing(int(seed), self._drawn_on)(self._shape)


def drawing(seed: int, drawn_on: NoiseDevice) -> Callable[[Sequence[int]], Tensor]:
    """Return a generator of unit noise, float32 on the CPU, one tensor after the other."""
    if drawn_on == "cpu":
        generator = torch.Generator().manual_seed(seed)
        return lambda shape: torch.randn(tuple(shape), generator=generator)
    draws = itertools.count()
    return lambda shape: torch.from_numpy(cuda_normals(seed, next(draws), math.prod(shape))).reshape(tuple(shape))


def _rounded(time: float) -> float:
    return round(time, 6)
