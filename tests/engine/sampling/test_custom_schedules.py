"""The schedules of ComfyUI's sigma nodes against their formulas, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.errors import BadRequest
from engine.sampling import schedules
from engine.sampling.levels import STABLE_DIFFUSION_1

RANGE = {"sigma_max": 10.0, "sigma_min": 0.05}


def _values(levels: Tensor) -> list[float]:
    assert levels.dtype == torch.float32
    assert levels.device.type == "cpu"
    values: list[float] = levels.tolist()
    return values


def test_karras() -> None:
    expected = [(10 ** (1 / 3) + t * (0.05 ** (1 / 3) - 10 ** (1 / 3))) ** 3 for t in (0, 0.25, 0.5, 0.75, 1)]
    assert _values(schedules.karras(steps=5, rho=3.0, **RANGE)) == pytest.approx([*expected, 0], rel=1e-5)


def test_exponential_and_polyexponential() -> None:
    exponential = _values(schedules.exponential(steps=3, **RANGE))
    assert exponential == pytest.approx([10, math.sqrt(10 * 0.05), 0.05, 0], rel=1e-5)
    assert _values(schedules.polyexponential(steps=3, rho=1.0, **RANGE)) == pytest.approx(exponential, rel=1e-5)
    steep = _values(schedules.polyexponential(steps=3, rho=2.0, **RANGE))
    assert steep[1] == pytest.approx(0.05 * (10 / 0.05) ** 0.25, rel=1e-5)


def test_laplace_is_cut_to_its_ends_and_has_no_zero() -> None:
    levels = _values(schedules.laplace(steps=5, mu=0.3, beta=0.5, **RANGE))
    quarter = math.exp(0.3 - 0.5 * math.log(0.5 + 1e-5))
    assert levels == pytest.approx([10, quarter, math.exp(0.3), math.exp(0.6) / quarter, 0.05], rel=1e-4)


def test_vp() -> None:
    levels = _values(schedules.vp(steps=3, beta_d=19.9, beta_min=0.1, eps_s=0.001))
    expected = [math.sqrt(math.expm1(19.9 * t * t / 2 + 0.1 * t)) for t in (1, 0.5005, 0.001)]
    assert levels == pytest.approx([*expected, 0], rel=1e-4)


@pytest.mark.parametrize(
    ("steps", "denoise", "timesteps"),
    [(1, 1.0, [999]), (4, 1.0, [999, 899, 799, 699]), (3, 0.5, [499, 399, 299]), (10, 0.3, [299, 199, 99]), (2, 0, [])],
)
def test_sd_turbo(steps: int, denoise: float, timesteps: list[int]) -> None:
    expected = [float(STABLE_DIFFUSION_1.sigmas[t]) for t in timesteps]
    assert _values(schedules.sd_turbo(steps=steps, denoise=denoise)) == pytest.approx([*expected, 0], rel=1e-6)


def test_beta_sampling_with_the_schedulers_parameters_is_the_scheduler() -> None:
    scheduler = schedules.sigmas(sampler="euler", scheduler="beta", steps=9, denoise=1.0)
    assert torch.equal(schedules.beta_sampling(steps=9, alpha=0.6, beta=0.6), scheduler)
    uniform = _values(schedules.beta_sampling(steps=4, alpha=1.0, beta=1.0))
    assert uniform == pytest.approx([*(float(STABLE_DIFFUSION_1.sigmas[t]) for t in (999, 749, 500, 250)), 0], rel=1e-2)


@pytest.mark.parametrize("model_type", schedules.ALIGN_YOUR_STEPS_MODELS)
def test_align_your_steps_is_log_linear_between_its_ten_steps(model_type: str) -> None:
    ten = _values(schedules.align_your_steps(model_type=model_type, steps=10))
    assert len(ten) == 11
    assert ten[-1] == 0
    assert sorted(ten, reverse=True) == ten
    twenty = _values(schedules.align_your_steps(model_type=model_type, steps=20))
    assert twenty[:-2:2] == pytest.approx(ten[:-1], rel=1e-5)
    between = [math.sqrt(a * b) for a, b in pairwise(ten[:-1])]
    assert twenty[1:-3:2] == pytest.approx(between, rel=1e-5)
    part = _values(schedules.align_your_steps(model_type=model_type, steps=10, denoise=0.35))
    assert part == ten[-5:]
    assert len(schedules.align_your_steps(model_type=model_type, steps=10, denoise=0.0)) == 0


def test_basic_leaves_no_sigma_out_and_keeps_the_last() -> None:
    levels = schedules.basic(scheduler="normal", steps=8)
    assert torch.equal(levels, schedules.sigmas(sampler="euler", scheduler="normal", steps=8, denoise=1.0))
    assert not torch.equal(levels, schedules.sigmas(sampler="dpm_2", scheduler="normal", steps=8, denoise=1.0))
    half = schedules.sigmas(sampler="euler", scheduler="karras", steps=5, denoise=0.4)
    assert torch.equal(schedules.basic(scheduler="karras", steps=5, denoise=0.4), half)
    whole = schedules.sigmas(sampler="euler", scheduler="ddim_uniform", steps=7, denoise=1.0)
    assert len(whole) == 9
    assert torch.equal(schedules.basic(scheduler="ddim_uniform", steps=7), whole[1:])


def test_a_denoise_of_zero_runs_nothing() -> None:
    assert len(schedules.basic(scheduler="normal", steps=8, denoise=0.0)) == 0
    assert len(schedules.sigmas(sampler="euler", scheduler="normal", steps=8, denoise=0.0)) == 0


LADDER = torch.tensor([10.0, 5.0, 2.0, 1.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("start", "end", "leftover", "expected"),
    [
        (0, None, False, [10, 5, 2, 1, 0.5, 0]),
        (0, 10000, True, [10, 5, 2, 1, 0.5, 0]),
        (0, 5, True, [10, 5, 2, 1, 0.5, 0]),
        (0, 3, True, [10, 5, 2, 1]),
        (0, 3, False, [10, 5, 2, 0]),
        (2, 4, True, [2, 1, 0.5]),
        (2, 4, False, [2, 1, 0]),
        (4, None, False, [0.5, 0]),
        (5, None, False, []),
        (9, None, False, []),
        (3, 3, False, []),
        (0, 0, False, []),
    ],
)
def test_cut(start: int, end: int | None, leftover: bool, expected: list[float]) -> None:
    before = LADDER.clone()
    assert schedules.cut(LADDER, start=start, end=end, leftover=leftover).tolist() == expected
    assert torch.equal(LADDER, before)


def test_split_meets_at_a_sigma() -> None:
    high, low = schedules.split(LADDER, step=2)
    assert (high.tolist(), low.tolist()) == ([10, 5, 2], [2, 1, 0.5, 0])
    high, low = schedules.split_denoise(LADDER, denoise=0.6)
    assert (high.tolist(), low.tolist()) == ([10, 5, 2], [2, 1, 0.5, 0])
    assert [len(part) for part in schedules.split_denoise(LADDER, denoise=0.0)] == [0, 1]
    assert [len(part) for part in schedules.split_denoise(LADDER, denoise=1.0)] == [1, 6]


def test_another_first_level_leaves_the_others_and_the_given_schedule() -> None:
    before = LADDER.tolist()
    changed = schedules.with_first(LADDER, sigma=12.5)
    assert changed.dtype == torch.float32
    assert changed.tolist() == [12.5, *before[1:]]
    assert LADDER.tolist() == before


@pytest.mark.parametrize(("levels", "sigma", "field"), [(LADDER, 0.0, "sigma"), (LADDER[:0], 1.0, "sigmas")])
def test_another_first_level_is_above_zero_and_replaces_one(levels: Tensor, sigma: float, field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        schedules.with_first(levels, sigma=sigma)
    assert refused.value.field == field


def test_flip_starts_above_zero() -> None:
    before = LADDER.clone()
    assert schedules.flip(LADDER).tolist() == pytest.approx([0.0001, 0.5, 1, 2, 5, 10])
    assert schedules.flip(LADDER[:3]).tolist() == [2, 5, 10]
    assert len(schedules.flip(LADDER[:0])) == 0
    assert torch.equal(LADDER, before)


REFUSED: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    *((schedules.karras, {"steps": 4, **RANGE, name: 0.0}, name) for name in ("sigma_max", "sigma_min", "rho")),
    *((schedules.karras, {"steps": 4, **RANGE, "rho": rho}, "rho") for rho in (0.001, 0.004)),
    *((schedules.exponential, {"steps": 4, **RANGE, name: math.inf}, name) for name in RANGE),
    (schedules.polyexponential, {"steps": 4, **RANGE, "rho": -1.0}, "rho"),
    (schedules.laplace, {"steps": 4, "sigma_max": 0.1, "sigma_min": 1.0}, "sigma_min"),
    (schedules.laplace, {"steps": 4, **RANGE, "mu": math.nan}, "mu"),
    (schedules.vp, {"steps": 4, "beta_d": 5000.0}, "beta_d"),
    (schedules.vp, {"steps": 4, "eps_s": 0.0}, "eps_s"),
    (schedules.sd_turbo, {"steps": 11}, "steps"),
    (schedules.sd_turbo, {"steps": 1, "denoise": 1.5}, "denoise"),
    (schedules.beta_sampling, {"steps": 4, "alpha": 0.0}, "alpha"),
    (schedules.align_your_steps, {"steps": 4, "model_type": "SD3"}, "model_type"),
    (schedules.align_your_steps, {"steps": 0}, "steps"),
    (schedules.basic, {"scheduler": "kl_optimal", "steps": 1}, "steps"),
    (schedules.basic, {"scheduler": "normal", "steps": 20, "denoise": 1e-9}, "denoise"),
    (lambda **options: schedules.split(LADDER, **options), {"step": -1}, "step"),
    (lambda **options: schedules.split_denoise(LADDER, **options), {"denoise": 1.1}, "denoise"),
]


@pytest.mark.parametrize(("schedule", "options", "field"), REFUSED)
def test_a_value_without_an_answer_is_refused_by_name(
    schedule: Callable[..., Any], options: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadRequest) as refusal:
        schedule(**options)
    assert refusal.value.field == field
    assert refusal.value.value == pytest.approx(options[field], nan_ok=True)
