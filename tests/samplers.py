"""Drives samplers without a UNet: models with exact predictions, noise that anyone can compute."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engine.sampling.beginning import first_x
from engine.sampling.noise import start_noise
from engine.sampling.samplers import SAMPLERS
from engine.sampling.samplers.protocol import Scalar

Denoise = Callable[[Tensor, Tensor], Tensor]

NAMES = tuple(SAMPLERS)
OWN_STEPS = tuple(name for name, record in SAMPLERS.items() if record.own_steps)
FIXED = tuple(name for name, record in SAMPLERS.items() if not record.adaptive)
CFG_PP = tuple(name for name, record in SAMPLERS.items() if record.needs_unconditional)
UNI_PC = ("uni_pc", "uni_pc_bh2")
"""End at sigma 0.001."""
NOISY = (
    *("euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "res_multistep_ancestral", "ddpm", "lcm"),
    *("euler_ancestral_cfg_pp", "dpmpp_2s_ancestral_cfg_pp", "res_multistep_ancestral_cfg_pp"),
    *("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde"),
    *("dpmpp_sde_gpu", "dpmpp_2m_sde_gpu", "dpmpp_2m_sde_heun_gpu", "dpmpp_3m_sde_gpu"),
    *("er_sde", "seeds_2", "seeds_3", "sa_solver", "sa_solver_pece"),
)
INDEX = torch.arange(4.0).reshape(1, 1, 2, 2)


class Waves:
    """Noise that anyone can compute."""

    def __init__(self) -> None:
        self.draws = 0

    def white(self) -> Tensor:
        self.draws += 1
        return torch.cos(self.draws + INDEX)

    def brownian(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        return torch.sin(sigma + 2 * sigma_next + INDEX)


def run(name: str, denoise: Denoise, x: Tensor, levels: Tensor, noise: Any = None, **more: Any) -> Tensor:
    """The final x; every yielded and sent tensor is checked to be left as it was."""
    return trace(name, denoise, x, levels, noise, **more)[0]


def trace(
    name: str,
    denoise: Denoise,
    x: Tensor,
    levels: Tensor,
    noise: Any = None,
    *,
    unconditional: Denoise | None = None,
    **options: Any,
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The final x, and all that was asked for. Without an ``unconditional`` model of its own it is ``denoise``."""
    record = SAMPLERS[name]
    sampler = record.configured(options)(x, levels, noise or Waves())
    asked: list[tuple[Tensor, Tensor]] = []
    held: list[tuple[Tensor, Tensor]] = [(x, x.clone()), (levels, levels.clone())]
    try:
        wanted = next(sampler)
        while True:
            if isinstance(wanted, Scalar):
                wanted = sampler.send(float(wanted.tensor))
                continue
            asked.append(wanted)
            denoised = denoise(*wanted)
            pair = (denoised, (unconditional or denoise)(*wanted))
            held += [(tensor, tensor.clone()) for tensor in (*wanted, *pair)]
            wanted = sampler.send(pair if record.needs_unconditional else denoised)
    except StopIteration as stop:
        assert all(torch.allclose(tensor, before, rtol=0, atol=0, equal_nan=True) for tensor, before in held)
        return stop.value, asked


def begin(seed: int, shape: tuple[int, ...], levels: Tensor) -> Tensor:
    """The x of an empty picture's first step."""
    return first_x(noise=start_noise(seed, shape), sigma=levels[0], latents=torch.zeros(shape))


def two_bumps(x: Tensor, sigma: Tensor) -> Tensor:
    """The exact prediction for data from N(−1, ½²) and N(1, ½²) in equal parts."""
    variance = 0.25 + sigma**2
    return (0.25 * x + sigma**2 * torch.tanh(x / variance)) / variance


def one_bump(x: Tensor, sigma: Tensor) -> Tensor:
    """The exact prediction for data from N(1, ½²)."""
    return (0.25 * x + sigma**2) / (0.25 + sigma**2)


def one_bump_flow(x: Tensor, sigma: float, sigma_to: float) -> Tensor:
    """Where the probability flow of ``one_bump`` takes x."""
    return 1 + (x - 1) * math.sqrt((0.25 + sigma_to**2) / (0.25 + sigma**2))


def unit_bump(x: Tensor, sigma: Tensor) -> Tensor:
    """The exact prediction for data from N(0, 1)."""
    return x / (1 + sigma**2)


def answer_to(name: str, wanted: Any) -> Any:
    """What the sampler is to be sent for what it asked for."""
    if isinstance(wanted, Scalar):
        return float(wanted.tensor)
    denoised = two_bumps(*wanted)
    return (denoised, denoised) if SAMPLERS[name].needs_unconditional else denoised


KNOWN_LEVELS = torch.tensor([14.6, 6.0, 2.5, 1.0, 0.4, 0.1, 0.0])
KNOWN_START = torch.tensor([-9.0, -2.0, 3.0, 12.0]).reshape(1, 1, 2, 2)
