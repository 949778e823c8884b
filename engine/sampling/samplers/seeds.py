"""SEEDS (Gonzalez et al. 2023, arXiv 2305.14267): exponential integrators of the reverse SDE with several stages.

Within a step the noise is one Ornstein–Uhlenbeck path: what a stage has seen is carried on, damped, and added to.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampling, Stage
from engine.sampling.samplers.steps import intervals, log_snr


class _Step:
    """One step of length h in λ from x at ``sigma``; points within it are given as shares r of h, rising to 1."""

    def __init__(self, x: Tensor, sigma: Tensor, sigma_next: Tensor, noise: StepNoise, eta: float, s_noise: float):
        self._x, self._sigma, self._source = x, sigma, noise
        self._h = log_snr(sigma_next) - log_snr(sigma)
        self._eta, self._s_noise = eta, s_noise
        self._noise: Tensor | None = None
        self._reached = 0.0

    def sigma(self, r: float) -> Tensor:
        return self._sigma * torch.exp(-r * self._h)

    def phi_1(self, r: float) -> Tensor:
        """φ₁ of the stretch up to ``r``, times its length."""
        return torch.expm1(-r * self._h * (1 + self._eta))

    def phi_2(self, r: float) -> Tensor:
        """φ₂ of the stretch up to ``r``, times its length."""
        length = -r * self._h * (1 + self._eta)
        return (torch.expm1(length) - length) / length

    def to(self, r: float, sigma: Tensor, increment: Tensor) -> Tensor:
        """The x at ``r``, whose level is ``sigma``, from the weighted denoised ``increment``."""
        x = sigma / self._sigma * torch.exp(-r * self._h * self._eta) * self._x - increment
        if self._eta > 0 and self._s_noise > 0:
            x = x + sigma * self._noise_at(r) * self._s_noise
        return x

    def _noise_at(self, r: float) -> Tensor:
        gap = (r - self._reached) * self._h * self._eta
        fresh = torch.expm1(-2 * gap).neg().sqrt() * self._source.white()
        self._noise = fresh if self._noise is None else self._noise * torch.exp(-gap) + fresh
        self._reached = r
        return self._noise


def seeds_2(
    x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 1.0, s_noise: float = 1.0, r: float = 0.5
) -> Sampling:
    """SEEDS-2 in data prediction: a stage at ``r`` of the step, then the whole step with what it predicts."""
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        step = _Step(x, sigma, sigma_next, noise, eta, s_noise)
        middle = step.sigma(r)
        middle_denoised = yield Stage(step.to(r, middle, step.phi_1(r) * denoised), middle)
        x = step.to(1.0, sigma_next, step.phi_1(1.0) * torch.lerp(denoised, middle_denoised, 1 / (2 * r)))
    return x


def seeds_3(
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    r_1: float = 1 / 3,
    r_2: float = 2 / 3,
) -> Sampling:
    """SEEDS-3 in data prediction: stages at ``r_1`` and ``r_2`` of the step."""
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        step = _Step(x, sigma, sigma_next, noise, eta, s_noise)
        first, second = step.sigma(r_1), step.sigma(r_2)
        denoised_1 = yield Stage(step.to(r_1, first, step.phi_1(r_1) * denoised), first)
        a = r_2 / r_1 * step.phi_2(r_2)
        second_x = step.to(r_2, second, (step.phi_1(r_2) - a) * denoised + a * denoised_1)
        denoised_2 = yield Stage(second_x, second)
        b = step.phi_2(1.0) / r_2
        x = step.to(1.0, sigma_next, (step.phi_1(1.0) - b) * denoised + b * denoised_2)
    return x
