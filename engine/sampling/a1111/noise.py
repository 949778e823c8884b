"""Noise with a generator for each picture, as AUTOMATIC1111 draws it: start noise, step noise and Brownian paths.

A picture's start noise is the first draw of its generator, and its step noise the next ones. All noise is computed on
the CPU. Knows no sampler, and of a schedule only the ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from engine.device.transfer import to_device
from engine.sampling.devices import NoiseDevice
from engine.sampling.noise import BrownianPath, drawing

_PARALLEL = 0.9995
"""The mean cosine above which noise and variation are blended along a line."""

_SEEDS = 2**64


@dataclass(frozen=True, kw_only=True)
class PictureSeed:
    """Where one picture's noise comes from."""

    seed: int
    """0 … 2⁶⁴−1."""
    drawn_on: NoiseDevice = "cuda"
    """Whose generator it is; ``cuda`` is AUTOMATIC1111's ``NV``, for any number of numbers."""
    step_delta: int = 0
    """What is added to the seed for the generator of the steps' noise; 0: that of the start noise goes on."""
    variation_seed: int = 0
    variation_strength: float = 0.0
    """0 … 1: how far the start noise is turned towards that of ``variation_seed``."""
    from_size: tuple[int, int] | None = None
    """Height and width, in cells, of the picture whose noise is pasted into the middle; None: the picture's own."""

    def start(self, shape: Sequence[int]) -> Tensor:
        """The noise that a picture of ``shape`` (4, h, w) begins from, float32."""
        return self._start(tuple(shape), drawing(self.seed, self.drawn_on))

    def following(self, shape: Sequence[int]) -> Callable[[Sequence[int]], Tensor]:
        """What draws the noise of its steps, one tensor after the other."""
        if self.step_delta:
            return drawing((self.seed + self.step_delta) % _SEEDS, self.drawn_on)
        draw = drawing(self.seed, self.drawn_on)
        draw(shape)
        return draw

    def _start(self, shape: tuple[int, ...], draw: Callable[[Sequence[int]], Tensor]) -> Tensor:
        whole = draw(shape)
        if self.from_size is None:
            return self._varied(whole)
        smaller = (shape[0], *self.from_size)
        return _pasted(self._varied(drawing(self.seed, self.drawn_on)(smaller)), whole)

    def _varied(self, noise: Tensor) -> Tensor:
        if not self.variation_strength:
            return noise
        return _turned(noise, drawing(self.variation_seed, self.drawn_on)(noise.shape), self.variation_strength)


class PictureNoise:
    """The step noise of one trajectory whose pictures have ``seeds``; x is (B, 4, h, w) on ``device``. Float32.

    Brownian noise comes from a path for each picture over the positive ones of ``span``, seeded with its plain seed.
    """

    def __init__(
        self, seeds: Sequence[PictureSeed], span: Tensor, shape: Sequence[int], device: torch.device | str = "cpu"
    ) -> None:
        """``shape`` is that of x; ``span`` are float32 sigmas on the CPU."""
        self._seeds = tuple(seeds)
        self._span = span
        self._shape = tuple(shape[1:])
        self._device = torch.device(device)

    def white(self) -> Tensor:
        """Unit noise of x's shape: the next draw of each picture's generator."""
        return self._to_device(torch.stack([draw(self._shape) for draw in self._draws]))

    def brownian(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """``sigma`` and ``sigma_next`` are 0-dim float32 on the CPU; the paths depend on their last bit."""
        increments = torch.stack([path(float(sigma_next)) - path(float(sigma)) for path in self._paths])
        return self._to_device(increments.float() / (sigma - sigma_next).abs().sqrt())

    def _to_device(self, noise: Tensor) -> Tensor:
        return to_device(noise, self._device)

    @cached_property
    def _draws(self) -> list[Callable[[Sequence[int]], Tensor]]:
        return [seed.following(self._shape) for seed in self._seeds]

    @cached_property
    def _paths(self) -> list[BrownianPath]:
        positive = self._span[self._span > 0]
        ends = float(positive.min()), float(positive.max())
        return [BrownianPath(each.seed, *ends, self._shape, each.drawn_on) for each in self._seeds]


def _turned(noise: Tensor, other: Tensor, strength: float) -> Tensor:
    """``noise`` (c, h, w) turned towards ``other`` column by column (Shoemake 1985, slerp), ``strength`` of the way.

    Where the two are nearly parallel they are blended with their shares exchanged, as AUTOMATIC1111 does.
    """
    first, second = (each / each.norm(dim=1, keepdim=True) for each in (noise, other))
    cosine = (first * second).sum(1)
    if cosine.mean() > _PARALLEL:
        return noise * strength + other * (1 - strength)
    angle = cosine.acos()
    shares = (((1 - strength) * angle).sin() / angle.sin(), (strength * angle).sin() / angle.sin())
    turned: Tensor = shares[0].unsqueeze(1) * noise + shares[1].unsqueeze(1) * other
    return turned


def _pasted(noise: Tensor, whole: Tensor) -> Tensor:
    """``whole`` (c, H, W) with ``noise`` (c, h, w) in its middle, cropped where it is larger."""
    (top, y, high), (left, x, wide) = (_overlap(noise.shape[i], whole.shape[i]) for i in (1, 2))
    pasted = whole.clone()
    pasted[:, y : y + high, x : x + wide] = noise[:, top : top + high, left : left + wide]
    return pasted


def _overlap(inner: int, outer: int) -> tuple[int, int, int]:
    """Where the common part of two centred lengths begins in either, and how long it is.

    An odd difference is rounded down: of a longer ``inner`` one cell less than ``outer`` has is taken.
    """
    before = (outer - inner) // 2
    return max(-before, 0), max(before, 0), inner if before >= 0 else inner + 2 * before
