"""SA-Solver (Xue et al. 2023, arXiv 2309.05019): stochastic Adams, a multistep predictor and corrector of denoised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.sampling.levels import STABLE_DIFFUSION_1, NoiseLevels
from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampling, Stage
from engine.sampling.samplers.steps import intervals, log_snr, weighted_sum


def sa_solver(
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    sde_start_percent: float = 0.2,
    sde_end_percent: float = 0.8,
    predictor_order: int = 3,
    corrector_order: int = 4,
    use_pece: bool = False,
    levels: NoiseLevels = STABLE_DIFFUSION_1,
) -> Sampling:
    """Algorithm 1 (PEC), with τ = ``eta`` between two percentages of sampling and 0 outside.

    The orders fall towards a final 0. ``use_pece`` predicts at each corrected x once more.
    """
    high, low = levels.sigma_at_percent(sde_start_percent), levels.sigma_at_percent(sde_end_percent)
    times, to_zero = log_snr(sigmas), bool(sigmas[-1] == 0)
    history: list[Tensor] = []  # denoised of the steps so far, the latest last
    step: _Step | None = None
    for i, (sigma, sigma_next) in enumerate(intervals(sigmas)):
        history = [*history, (yield x, sigma)][-max(predictor_order, corrector_order) :]
        left = len(sigmas) - 1 - i if to_zero else len(sigmas)
        if step is not None and (sigma_next > 0 or use_pece):
            order = min(corrector_order, len(history), left)
            x = step.run(times[i + 1 - order : i + 1], history[-order:])
            if use_pece:
                history[-1] = yield Stage(x, sigma)
        if sigma_next == 0:
            return history[-1]
        tau = eta if low <= float(sigma_next) <= high else 0.0
        white = noise.white() * s_noise if tau > 0 and s_noise > 0 else None
        step = _Step(x=x, sigma=sigma, sigma_next=sigma_next, tau=tau, white=white)
        order = min(predictor_order, len(history), left - 1)
        x = step.run(times[i + 1 - order : i + 1], history[-order:])
    return x


@dataclass(frozen=True, kw_only=True, eq=False)
class _Step:
    """One step from ``x`` at ``sigma`` to ``sigma_next``, run as predictor and, with the same noise, as corrector."""

    x: Tensor
    sigma: Tensor
    sigma_next: Tensor
    tau: float
    white: Tensor | None

    def run(self, nodes: Tensor, denoised: Sequence[Tensor]) -> Tensor:
        """The x at ``sigma_next``: equation 14, with ``denoised`` a polynomial through its values at λ = ``nodes``."""
        begin, end = log_snr(self.sigma), log_snr(self.sigma_next)
        h = end - begin
        decay = self.sigma_next / self.sigma * torch.exp(-(self.tau**2) * h)
        x = decay * self.x + weighted_sum(_weights(nodes, begin, end, 1 + self.tau**2), denoised)
        if self.white is None:
            return x
        return x + self.white * self.sigma_next * torch.expm1(-2 * self.tau**2 * h).neg().sqrt()


def _weights(nodes: Tensor, begin: Tensor, end: Tensor, m: float) -> Tensor:
    """∫ m·e^(m(λ − end))·ℓⱼ(λ) dλ from ``begin`` to ``end``, ℓⱼ the polynomial that is 1 at node j and 0 at the others.

    They solve Σⱼ wⱼ·nodeⱼᵖ = Iₚ, with Iₚ the same integral of λᵖ.
    """
    integral, integrals, powers = torch.zeros(()), [], []
    for p in range(len(nodes)):
        integral = end**p - begin**p * torch.exp(-m * (end - begin)) - p / m * integral
        integrals.append(integral)
        powers.append(nodes**p)
    weights: Tensor = torch.linalg.solve(torch.stack(powers), torch.stack(integrals))
    return weights
