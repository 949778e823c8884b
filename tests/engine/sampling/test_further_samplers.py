"""The samplers that ComfyUI does not have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.sampling.levels import STABLE_DIFFUSION_1
from engine.sampling.samplers.protocol import Scalar
from engine.sampling.samplers.table import FURTHER_SAMPLERS, SAMPLERS, sampler_named


class _Drawn:
    """Noise that counts its draws."""

    def __init__(self) -> None:
        self.draws = 0
        self._generator = torch.Generator().manual_seed(3)

    def white(self) -> Tensor:
        self.draws += 1
        return torch.randn(1, 4, 8, 8, generator=self._generator)

    def brownian(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        raise AssertionError("none of them draws a path")


def _sampled(name: str, sigmas: Tensor, noise: _Drawn, **options: Any) -> tuple[Tensor, int]:
    """Sample towards half of x; return what is left, and the number of evaluations."""
    record = sampler_named(name)
    function = record.configured(options)
    extra = {"levels": STABLE_DIFFUSION_1} if record.needs_levels else {}
    sampling = function(torch.full((1, 4, 8, 8), float(sigmas[0])), sigmas, noise, **extra)
    count, answer = 0, None
    try:
        while True:
            wanted = sampling.send(answer)  # type: ignore[arg-type]
            if isinstance(wanted, Scalar):
                answer = float(wanted.tensor)
                continue
            count += 1
            denoised = wanted[0] / 2
            answer = (denoised, denoised) if record.needs_unconditional else denoised
    except StopIteration as end:
        return end.value, count


_LEVELS = torch.tensor([14.0, 7.0, 3.0, 1.0, 0.3, 0.0])
_ABOVE_ZERO = _LEVELS[:-1]


@pytest.mark.parametrize("name", FURTHER_SAMPLERS)
def test_each_ends_with_finite_latents(name: str) -> None:
    found, evaluations = _sampled(name, _ABOVE_ZERO if "timesteps" in name or name == "plms" else _LEVELS, _Drawn())
    assert bool(found.isfinite().all())
    assert evaluations >= 4


@pytest.mark.parametrize(
    ("name", "other"), [("euler_churn", "euler"), ("heun_churn", "heun"), ("dpm_2_churn", "dpm_2")]
)
def test_without_churn_they_are_comfyuis_to_the_bit(name: str, other: str) -> None:
    noise = _Drawn()
    assert _sampled(name, _LEVELS, noise)[0].equal(_sampled(other, _LEVELS, noise)[0])
    assert noise.draws == 0


def test_churn_draws_at_each_step_whether_it_adds_or_not() -> None:
    noise = _Drawn()
    changed = _sampled("euler_churn", _LEVELS, noise, s_churn=2.0, s_tmin=2.0, s_tmax=8.0)[0]
    assert noise.draws == len(_LEVELS) - 1
    assert not changed.equal(_sampled("euler", _LEVELS, noise)[0])


def test_without_noise_dpm_fast_is_comfyuis() -> None:
    found = _sampled("dpm_fast_ancestral", _LEVELS, _Drawn(), eta=0.0)[0]
    assert found.equal(_sampled("dpm_fast", _LEVELS, _Drawn())[0])


def test_lms_differs_in_its_last_step_alone() -> None:
    assert _sampled("lms_to_end", _ABOVE_ZERO, _Drawn())[0].equal(_sampled("lms", _ABOVE_ZERO, _Drawn())[0])
    assert not _sampled("lms_to_end", _LEVELS, _Drawn())[0].equal(_sampled("lms", _LEVELS, _Drawn())[0])


@pytest.mark.parametrize(("steps", "draws"), [(19, 0), (20, 1), (36, 2)])
def test_restart_goes_back_by_the_number_of_steps(steps: int, draws: int) -> None:
    noise, levels = _Drawn(), torch.cat([torch.linspace(14.0, 0.03, steps), torch.zeros(1)])
    assert _sampled("restart", levels, noise)[1] == 2 * steps - 1
    assert noise.draws == draws


def test_ddim_is_euler_in_the_frame_of_constant_variance() -> None:
    found = _sampled("ddim_timesteps", _ABOVE_ZERO, _Drawn())[0]
    wanted = _sampled("euler", _ABOVE_ZERO, _Drawn())[0] / (1 + _ABOVE_ZERO[-1] ** 2).sqrt()
    assert torch.allclose(found, wanted, rtol=1e-6)


def test_names_are_apart_from_comfyuis() -> None:
    assert not FURTHER_SAMPLERS.keys() & SAMPLERS.keys()
