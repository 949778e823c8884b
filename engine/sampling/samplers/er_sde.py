"""ER-SDE-Solver (Cui et al. 2023, arXiv 2309.06169): extended reverse-time SDEs, up to third order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampling
from engine.sampling.samplers.steps import intervals

_POINTS = torch.arange(200, dtype=torch.float32)
"""Where the integrals of 1/φ are summed up, in units of a 200th of the step."""


def er_sde(
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    solver_type: str = "ER-SDE",
    max_stage: int = 3,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Sampling:
    """VE ER-SDE-Solver of order ``max_stage`` (1 … 3): algorithms 1 to 3.

    ``solver_type`` is the noise scale φ: ``ER-SDE`` the paper's φ₅, ``Reverse-time SDE`` σ^(η+1), ``ODE`` σ without
    noise. ``eta`` counts for ``Reverse-time SDE`` alone.
    """
    if solver_type == "ODE" or (solver_type == "Reverse-time SDE" and eta == 0):
        eta = s_noise = 0.0
    scale: Callable[[Tensor], Tensor] = _er_sde_scale if solver_type == "ER-SDE" else lambda s: s ** (eta + 1)
    before: list[tuple[Tensor, Tensor]] = []  # (σ, denoised) of the steps before, the latest first
    rise_before = x
    for sigma, sigma_next in intervals(sigmas):
        denoised = yield x, sigma
        if sigma_next == 0:
            return denoised
        r = scale(sigma_next) / scale(sigma)
        x = r * x + (1 - r) * denoised
        stage = min(max_stage, len(before) + 1)
        if stage >= 2:
            step = sigma_next - sigma
            width = -step / len(_POINTS)
            points = sigma_next + _POINTS * width
            rise = (denoised - before[0][1]) / (sigma - before[0][0])
            x = x + (step + scale(sigma_next) * width * (1 / scale(points)).sum()) * rise
            if stage >= 3:
                bend = 2 * (rise - rise_before) / (sigma - before[1][0])
                area = scale(sigma_next) * width * ((points - sigma) / scale(points)).sum()
                x = x + (step**2 / 2 + area) * bend
            rise_before = rise
        if s_noise > 0:
            x = x + noise.white() * s_noise * (sigma_next**2 - sigma**2 * r**2).sqrt().nan_to_num(nan=0.0)
        before = [(sigma, denoised), *before[:1]]
    return x


def _er_sde_scale(sigma: Tensor) -> Tensor:
    """φ₅ of the paper's table 1."""
    return sigma * ((sigma**0.3).exp() + 10)
