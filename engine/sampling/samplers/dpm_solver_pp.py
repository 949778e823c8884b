"""DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095): exponential integrators of denoised in λ = −log σ.

The ``sde`` ones solve the reverse diffusion instead of its probability flow; their noise is a Brownian path over σ.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampling, Stage
from engine.sampling.samplers.steps import ancestral_split, intervals, log_snr


def _sigma(t: Tensor) -> Tensor:
    return t.neg().exp()


def _first_order(x: Tensor, denoised: Tensor, t: Tensor, t_next: Tensor, h: Tensor) -> Tensor:
    """The paper's exact solution for a denoised that stays as it is from ``t`` to ``t_next`` = t + ``h`` (t is λ)."""
    return _sigma(t_next) / _sigma(t) * x - torch.expm1(-h) * denoised


def dpmpp_2s_ancestral(
    x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Sampling:
    """DPM-Solver++(2S), algorithm 1 with r = 1/2, down to σ_down; then noise up to σ_next."""
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        down, up = ancestral_split(sigma, sigma_next, eta)
        if down == 0:
            x = denoised
        else:
            t, t_next = log_snr(sigma), log_snr(down)
            h = t_next - t
            middle = t + h / 2
            denoised = yield Stage(_first_order(x, denoised, t, middle, h / 2), _sigma(middle))
            x = _first_order(x, denoised, t, t_next, h)
        x = x + noise.white() * s_noise * up
    return x


def dpmpp_sde(
    x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 1.0, s_noise: float = 1.0, r: float = 0.5
) -> Sampling:
    """SDE-DPM-Solver++ in two stages, the first at ``r`` of the step: both start from x.

    The second takes the line through both predictions at the step's middle, which for r = 1/2 is the first stage's.
    """
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        t = log_snr(sigma)
        middle = _sigma(t + (log_snr(sigma_next) - t) * r)
        middle_x = _ancestral_step(x, denoised, sigma, middle, eta)
        if eta > 0 and s_noise > 0:
            middle_x = middle_x + noise.brownian(sigma, middle) * s_noise * ancestral_split(sigma, middle, eta)[1]
        denoised = torch.lerp(denoised, (yield Stage(middle_x, middle)), 1 / (2 * r))
        x = _ancestral_step(x, denoised, sigma, sigma_next, eta)
        if eta > 0 and s_noise > 0:
            x = x + noise.brownian(sigma, sigma_next) * s_noise * ancestral_split(sigma, sigma_next, eta)[1]
    return x


def _ancestral_step(x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor, eta: float) -> Tensor:
    """The step down to σ_down, without its noise."""
    h = log_snr(ancestral_split(sigma, sigma_next, eta)[0]) - log_snr(sigma)
    return torch.exp(-h) * x - torch.expm1(-h) * denoised


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


def _sde_step(x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor, h: Tensor, eta: float) -> Tensor:
    """SDE-DPM-Solver++1 (section 5), without its noise."""
    return sigma_next / sigma * torch.exp(-h * eta) * x - torch.expm1(-h * (eta + 1)) * denoised


def _sde_noise(noise: StepNoise, sigma: Tensor, sigma_next: Tensor, h: Tensor, eta: float, s_noise: float) -> Tensor:
    return noise.brownian(sigma, sigma_next) * sigma_next * torch.expm1(-2 * h * eta).neg().sqrt() * s_noise


def dpmpp_2m_sde(
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    solver_type: str = "midpoint",
) -> Sampling:
    """SDE-DPM-Solver++(2M) (section 5), with the noise of ``eta`` (0 none).

    ``solver_type`` says how the slope of denoised is integrated: ``midpoint`` as in the paper, ``heun`` exactly, as
    diffusers and k-diffusion do in their Heun form.
    """
    previous: Tensor | None = None
    h_before = torch.tensor(0.0)
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        h = log_snr(sigma_next) - log_snr(sigma)
        x = _sde_step(x, denoised, sigma, sigma_next, h, eta)
        if previous is not None:
            h_eta = h * (eta + 1)
            correction = _phi_2(h_eta) if solver_type == "heun" else -torch.expm1(-h_eta) / 2
            x = x + correction / (h_before / h) * (denoised - previous)
        if eta > 0 and s_noise > 0:
            x = x + _sde_noise(noise, sigma, sigma_next, h, eta, s_noise)
        previous, h_before = denoised, h
    return x


def _phi_2(h: Tensor) -> Tensor:
    return torch.expm1(-h) / h + 1


def dpmpp_3m_sde(x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 1.0, s_noise: float = 1.0) -> Sampling:
    """SDE-DPM-Solver++ on a parabola through the last three denoised: k-diffusion's third-order sampler."""
    history: list[tuple[Tensor, Tensor]] = []  # (denoised, h) of the two steps before, the latest first
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        h = log_snr(sigma_next) - log_snr(sigma)
        x = _sde_step(x, denoised, sigma, sigma_next, h, eta)
        if history:
            x = x + _parabola(denoised, h, history, eta)
        if eta > 0 and s_noise > 0:
            x = x + _sde_noise(noise, sigma, sigma_next, h, eta, s_noise)
        history = [(denoised, h), *history[:1]]
    return x


def _parabola(denoised: Tensor, h: Tensor, history: list[tuple[Tensor, Tensor]], eta: float) -> Tensor:
    """What a parabola through denoised and its ``history`` adds to a step of ``h``; a line where that holds one."""
    h_eta = h * (eta + 1)
    phi_2 = _phi_2(h_eta)
    before, h_before = history[0]
    r = h_before / h
    rise = (denoised - before) / r
    if len(history) == 1:
        return phi_2 * rise
    before_that, h_before_that = history[1]
    r_before = h_before_that / h
    bend = (rise - (before - before_that) / r_before) / (r + r_before)
    return phi_2 * (rise + bend * r) - (phi_2 / h_eta - 0.5) * bend
