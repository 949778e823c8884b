"""Steps along the probability flow dx/dσ that look only at the step at hand, and their ancestral relatives."""

from __future__ import annotations

from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampling, Stage
from engine.sampling.samplers.steps import ancestral_split, intervals, log_middle, slope, weighted_sum


def euler(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """Karras et al. 2022 (arXiv 2206.00364), algorithm 1 without its lines 6 to 8; DDIM, in terms of σ."""
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        x = x + slope(x, sigma, denoised) * (sigma_next - sigma)
    return x


def euler_ancestral(x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 1.0, s_noise: float = 1.0) -> Sampling:
    """Euler down to σ_down, then noise up to σ_next: DDPM's sampling (Song et al. 2021, arXiv 2010.02502, eq. 12)."""
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        down, up = ancestral_split(sigma, sigma_next, eta)
        if down == 0:
            x = denoised
            continue
        x = x + slope(x, sigma, denoised) * (down - sigma) + noise.white() * s_noise * up
    return x


def heun(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """Karras et al. 2022 (arXiv 2206.00364), algorithm 1."""
    for sigma, sigma_next in intervals(sigmas):
        x = yield from heun_step(x, sigma, sigma_next)
    return x


def heun_step(x: Tensor, sigma: Tensor, sigma_next: Tensor) -> Sampling:
    """Heun's method for one step; Euler's down to 0."""
    denoised = yield x, sigma
    first = slope(x, sigma, denoised)
    euler_x = x + first * (sigma_next - sigma)
    if sigma_next == 0:
        return euler_x
    denoised = yield Stage(euler_x, sigma_next)
    second = slope(euler_x, sigma_next, denoised)
    return x + (first + second) / 2 * (sigma_next - sigma)


def heunpp2(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """Heun++ (github.com/Carzit/sd-webui-samplers-scheduler): averages the slopes of up to three Euler steps ahead.

    Of k slopes, the one at σᵢ₊ⱼ weighs σᵢ₊ⱼ/(k·σ₀) and the one at σᵢ what is left to 1.
    """
    last = len(sigmas) - 1
    for i in range(last):
        ahead = min(3, last - i)
        point = x
        slopes: list[Tensor] = []
        for sigma, sigma_next in intervals(sigmas[i : i + ahead + 1]):
            denoised = yield Stage(point, sigma) if slopes else (point, sigma)
            slopes.append(slope(point, sigma, denoised))
            point = point + slopes[-1] * (sigma_next - sigma)
        weights = sigmas[i : i + ahead] / (ahead * sigmas[0])
        weights[0] = 1 - weights[1:].sum()
        x = x + weighted_sum(weights, slopes) * (sigmas[i + 1] - sigmas[i])
    return x


def dpm_2(x: Tensor, sigmas: Tensor, noise: StepNoise) -> Sampling:
    """The midpoint rule, its middle taken in log σ as in DPM-Solver-2 (Lu et al. 2022, arXiv 2206.00927, alg. 1)."""
    for sigma, sigma_next in intervals(sigmas):
        x = yield from midpoint_step(x, sigma, sigma_next)
    return x


def dpm_2_ancestral(x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 1.0, s_noise: float = 1.0) -> Sampling:
    """dpm_2 down to σ_down, then noise up to σ_next."""
    for sigma, sigma_next in intervals(sigmas):
        down, up = ancestral_split(sigma, sigma_next, eta)
        x = yield from midpoint_step(x, sigma, down)
        if down > 0:
            x = x + noise.white() * s_noise * up
    return x


def midpoint_step(x: Tensor, sigma: Tensor, sigma_next: Tensor) -> Sampling:
    """The midpoint rule for one step; Euler's method down to 0."""
    denoised = yield x, sigma
    first = slope(x, sigma, denoised)
    if sigma_next == 0:
        return x + first * (sigma_next - sigma)
    middle = log_middle(sigma, sigma_next)
    middle_x = x + first * (middle - sigma)
    denoised = yield Stage(middle_x, middle)
    return x + slope(middle_x, middle, denoised) * (sigma_next - sigma)
