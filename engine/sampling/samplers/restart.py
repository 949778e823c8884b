"""Restart sampling (Xu et al. 2023, arXiv 2306.14878): Heun's method that goes back up with fresh noise on its way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampling
from engine.sampling.samplers.runge_kutta import heun_step
from engine.sampling.samplers.steps import intervals
from engine.sampling.schedules.curves import karras_ramp

_FEWEST, _MANY = 20, 36
"""Steps from which on it goes back once, and twice."""

_BOTTOM, _TOP = 0.1, 2.0
"""The levels, about, between which it goes back."""


def restart(x: Tensor, sigmas: Tensor, noise: StepNoise, *, s_noise: float = 1.0) -> Sampling:
    """Algorithm 1 with the restarts that AUTOMATIC1111 chooses by the number of steps; below 20 there are none."""
    reached: Tensor | None = None
    for sigma, sigma_next in _steps(sigmas):
        if reached is not None and reached < sigma:
            x = x + noise.white() * s_noise * (sigma**2 - reached**2).sqrt()
        x = yield from heun_step(x, sigma, sigma_next)
        reached = sigma_next
    return x


def _steps(sigmas: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the levels of each step: those of ``sigmas``, or as many of Karras' schedules with restarts in between."""
    count = len(sigmas) - 1
    if count < _FEWEST:
        yield from intervals(sigmas)
        return
    length, times = (count // 4, 2) if count >= _MANY else (9, 1)
    ends = float(sigmas[0]), float(sigmas[-2])
    whole = torch.cat([karras_ramp(count - length * times, *ends, 7.0), torch.zeros(1)])
    bottom, top = (int((whole - level).abs().argmin()) for level in (_BOTTOM, _TOP))
    again = karras_ramp(length + 1, float(whole[top]), float(whole[bottom]), 7.0).unbind() if top < bottom else ()
    for place, step in enumerate(intervals(whole), start=1):
        yield step
        if place == bottom:
            for _ in range(times):
                yield from pairwise(again)
