"""DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095): exponential integrators of denoised in λ = −log σ.

The ``sde`` ones solve the reverse diffusion instead of its probability flow; their noise is a Brownian path over σ.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampling
from engine.sampling.samplers.steps import ancestral_split, intervals, log_snr


def _sigma(t: Tensor) -> Tensor:
    return t.neg().exp()


def _first_order(x: Tensor, denoised: Tensor, t: Tensor, t_next: Tensor, h: Tensor) -> Tensor:
    """The paper's exact solution for a denoised that stays as it is from ``t`` to ``t_next`` = t + ``h`` (t is λ)."""
    return _sigma(t_next) / _sigma(t) * x - torch.expm1(-h) * denoised


def dpmpp_2s_ancestral(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """DPM-Solver++(2S), algorithm 1 with r = 1/2, down to σ_down; then noise up to σ_next."""
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        down, up = ancestral_split(sigma, sigma_next)
        t, t_next = log_snr(sigma), log_snr(down)
        h = t_next - t
        middle = t + h / 2
        denoised = yield _first_order(x, denoised, t, middle, h / 2), _sigma(middle)
        x = _first_order(x, denoised, t, t_next, h) + noise.white() * up
    return x


def dpmpp_sde(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """SDE-DPM-Solver++ in two stages, r = 1/2: both start from x, the second with the first's denoised."""
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        t = log_snr(sigma)
        middle = _sigma(t + (log_snr(sigma_next) - t) / 2)
        denoised = yield _ancestral_step(x, denoised, sigma, middle, noise), middle
        x = _ancestral_step(x, denoised, sigma, sigma_next, noise)
    return x


def _ancestral_step(x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor, noise: StepNoise) -> Tensor:
    down, up = ancestral_split(sigma, sigma_next)
    h = log_snr(down) - log_snr(sigma)
    return torch.exp(-h) * x - torch.expm1(-h) * denoised + noise.brownian(sigma, sigma_next) * up


def dpmpp_2m(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """DPM-Solver++(2M), algorithm 2; first and last step of first order."""
    previous: Tensor | None = None
    h_before = torch.tensor(0.0)
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        t, t_next = log_snr(sigma), log_snr(sigma_next)
        h = t_next - t
        extrapolated = denoised
        if previous is not None:
            r = h_before / h
            extrapolated = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * previous
        x = _first_order(x, extrapolated, t, t_next, h)
        previous, h_before = denoised, h
    return x


def _sde_step(x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor, h: Tensor) -> Tensor:
    """SDE-DPM-Solver++1 (section 5), without its noise."""
    return sigma_next / sigma * torch.exp(-h) * x - torch.expm1(-2 * h) * denoised


def _sde_noise(noise: StepNoise, sigma: Tensor, sigma_next: Tensor, h: Tensor) -> Tensor:
    return noise.brownian(sigma, sigma_next) * sigma_next * torch.expm1(-2 * h).neg().sqrt()


def _dpmpp_2m_sde(x: Tensor, sigmas: Tensor, noise: StepNoise, correction: Callable[[Tensor], Tensor]) -> Sampling:
    """SDE-DPM-Solver++(2M) (section 5); ``correction`` weighs the slope of denoised, given 2h."""
    previous: Tensor | None = None
    h_before = torch.tensor(0.0)
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        h = log_snr(sigma_next) - log_snr(sigma)
        x = _sde_step(x, denoised, sigma, sigma_next, h)
        if previous is not None:
            x = x + correction(2 * h) / (h_before / h) * (denoised - previous)
        x = x + _sde_noise(noise, sigma, sigma_next, h)
        previous, h_before = denoised, h
    return x


def dpmpp_2m_sde(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """SDE-DPM-Solver++(2M) as in the paper: the midpoint form."""
    return _dpmpp_2m_sde(x, sigmas, noise, lambda h: -torch.expm1(-h) / 2)


def dpmpp_2m_sde_heun(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """SDE-DPM-Solver++(2M) with the slope integrated exactly: diffusers' and k-diffusion's Heun form."""
    return _dpmpp_2m_sde(x, sigmas, noise, _phi_2)


def _phi_2(h: Tensor) -> Tensor:
    return torch.expm1(-h) / h + 1


def dpmpp_3m_sde(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """k-diffusion's third-order sibling: SDE-DPM-Solver++ on a parabola through the last three denoised."""
    history: list[tuple[Tensor, Tensor]] = []  # (denoised, h) of the two steps before, the latest first
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        h = log_snr(sigma_next) - log_snr(sigma)
        x = _sde_step(x, denoised, sigma, sigma_next, h)
        if history:
            x = x + _parabola(denoised, h, history)
        x = x + _sde_noise(noise, sigma, sigma_next, h)
        history = [(denoised, h), *history[:1]]
    return x


def _parabola(denoised: Tensor, h: Tensor, history: list[tuple[Tensor, Tensor]]) -> Tensor:
    """What bending denoised through its ``history`` adds to a step of ``h``; a straight line through one of them."""
    phi_2 = _phi_2(2 * h)
    before, h_before = history[0]
    r = h_before / h
    rise = (denoised - before) / r
    if len(history) == 1:
        return phi_2 * rise
    before_that, h_before_that = history[1]
    r_before = h_before_that / h
    bend = (rise - (before - before_that) / r_before) / (r + r_before)
    return phi_2 * (rise + bend * r) - (phi_2 / (2 * h) - 0.5) * bend
