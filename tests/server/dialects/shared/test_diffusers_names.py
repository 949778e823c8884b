"""diffusers' scheduler names take the same steps here as in diffusers itself."""

from __future__ import annotations

import importlib
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from engine.request import SAMPLERS as NAMES
from engine.request import SCHEDULERS
from engine.sampling import schedules
from engine.sampling.beginning import first_x
from engine.sampling.levels import STABLE_DIFFUSION_1
from engine.sampling.samplers import SAMPLERS
from engine.sampling.samplers.protocol import Sampling
from server.dialects.shared.diffusers_names import CLASSES

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own

_STABLE_DIFFUSION_1 = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
_DDIM = {"steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}
_OPTIONS: dict[str, dict[str, Any]] = {"KarrasDPM": {"use_karras_sigmas": True}, "DDIM": _DDIM, "DDIMScheduler": _DDIM}
_DIFFUSERS = {
    "K_EULER": "EulerDiscreteScheduler",
    "K_EULER_ANCESTRAL": "EulerAncestralDiscreteScheduler",
    "KLMS": "LMSDiscreteScheduler",
    "HeunDiscrete": "HeunDiscreteScheduler",
    "DPMSolverMultistep": "DPMSolverMultistepScheduler",
    "KarrasDPM": "DPMSolverMultistepScheduler",
    "DDIM": "DDIMScheduler",
}
_LEVELS = torch.tensor([-1.2, 0.1, 0.9], dtype=torch.float64)
_SPREAD = 0.04


def denoised(x: Tensor, sigma: Tensor) -> Tensor:
    """Return the best guess where each number of a picture lies near one of three levels."""
    variance = max(float(sigma), 1e-6) ** 2
    distance = x.double()[..., None] - _LEVELS
    likely = torch.softmax(-(distance**2) / (2 * (variance + _SPREAD)), -1)
    mean = (x.double()[..., None] * _SPREAD + _LEVELS * variance) / (_SPREAD + variance)
    return (likely * mean).sum(-1).float()


class NoNoise:
    def white(self) -> Tensor:
        return torch.zeros(1024)

    def brownian(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        return torch.zeros(1024)


def ours(sampler: str, scheduler: str, steps: int, noise: Tensor) -> Tensor:
    sigmas = schedules.sigmas(sampler=sampler, scheduler=scheduler, steps=steps, denoise=1.0)
    sampling: Sampling = SAMPLERS[sampler].function(
        first_x(noise=noise, sigma=sigmas[0], latents=torch.zeros(1024)), sigmas, NoNoise()
    )
    try:
        asked = next(sampling)
        while True:
            asked = sampling.send(denoised(*asked))
    except StopIteration as end:
        return torch.as_tensor(end.value)


def theirs(name: str, steps: int, noise: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    kind = getattr(diffusers, _DIFFUSERS.get(name, name))
    module = importlib.import_module(kind.__module__)
    if hasattr(module, "randn_tensor"):
        monkeypatch.setattr(module, "randn_tensor", lambda shape, **_: torch.zeros(shape))
    scheduler = kind(**_STABLE_DIFFUSION_1, **_OPTIONS.get(name, {}))
    scheduler.set_timesteps(steps)
    x = noise * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, timestep)
        low, high = int(timestep.floor()) if timestep.is_floating_point() else int(timestep), 0
        high = min(low + 1, 999)
        weight = float(timestep) - low
        log_sigmas = STABLE_DIFFUSION_1.log_sigmas
        sigma = ((1 - weight) * log_sigmas[low] + weight * log_sigmas[high]).exp()
        at_sigma = scaled * (1 + sigma**2).sqrt()
        eps = (at_sigma - denoised(at_sigma, sigma)) / sigma
        x = scheduler.step(eps, timestep, x).prev_sample
    return x


@pytest.mark.parametrize("steps", [7, 20, 30])
@pytest.mark.parametrize("name", CLASSES)
def test_it_ends_where_diffusers_ends(name: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = torch.randn(1024, generator=torch.Generator().manual_seed(0))
    sampler, scheduler = CLASSES[name]
    expected = theirs(name, steps, noise, monkeypatch)
    distance = (ours(sampler, scheduler, steps, noise) - expected).norm() / expected.norm()
    assert distance < 0.01


@pytest.mark.parametrize("pair", [("dpmpp_2m", "normal"), ("heun", "normal"), ("euler", "karras")])
def test_another_rule_or_schedule_ends_elsewhere(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Other rules and schedules fail the test above, so that it can tell them apart."""
    noise = torch.randn(1024, generator=torch.Generator().manual_seed(0))
    name = "DPMSolverMultistep" if pair[0] == "dpmpp_2m" else "K_EULER"
    expected = theirs(name, 20, noise, monkeypatch)
    assert (ours(*pair, 20, noise) - expected).norm() / expected.norm() > 0.03


def test_each_name_is_something_here_and_none_is_two_things() -> None:
    assert all(sampler in NAMES and scheduler in SCHEDULERS for sampler, scheduler in CLASSES.values())
    assert not set(CLASSES) & set(SCHEDULERS)
