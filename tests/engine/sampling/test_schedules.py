"""Schedules against independent formulas, and what every schedule promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import betaincinv

from engine.errors import BadRequest
from engine.request import SAMPLERS, SCHEDULERS
from engine.sampling.levels import STABLE_DIFFUSION_1
from engine.sampling.schedules import MAX_SCHEDULE, sigmas

SIGMA_MIN, SIGMA_MAX = 0.0291671585, 14.6146412  # of Stable Diffusion 1.x


def _training_sigma(index: int) -> float:
    """By the definition, in plain Python."""
    alpha_bar = 1.0
    for i in range(index + 1):
        root = 0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * i / 999
        alpha_bar *= 1 - root**2
    return math.sqrt((1 - alpha_bar) / alpha_bar)


def _between(position: float) -> float:
    low = math.log(_training_sigma(math.floor(position)))
    high = math.log(_training_sigma(math.ceil(position)))
    return math.exp(low + (high - low) * (position - math.floor(position)))


def _ladder(scheduler: str, steps: int, sampler: str = "euler", denoise: float = 1.0) -> torch.Tensor:
    return sigmas(sampler=sampler, scheduler=scheduler, steps=steps, denoise=denoise)


LOG_MIN, LOG_MAX = math.log(SIGMA_MIN), math.log(SIGMA_MAX)
EXPECTED = {
    "normal": [_between(999 * (3 - i) / 3) for i in range(4)],
    "sgm_uniform": [_between(999 * (4 - i) / 4) for i in range(4)],
    "karras": [(SIGMA_MAX ** (1 / 7) * (3 - i) / 3 + SIGMA_MIN ** (1 / 7) * i / 3) ** 7 for i in range(4)],
    "exponential": [math.exp((LOG_MAX * (3 - i) + LOG_MIN * i) / 3) for i in range(4)],
    "simple": [_training_sigma(i) for i in (999, 749, 499, 249)],
    "ddim_uniform": [_training_sigma(i) for i in (751, 501, 251, 1)],
    "beta": [_training_sigma(i) for i in (999, 823, 500, 176)],
    "linear_quadratic": [SIGMA_MAX * (1 - x) for x in (0, 0.0125, 0.025, 0.275)],
    "kl_optimal": [math.tan((math.atan(SIGMA_MAX) * (3 - i) + math.atan(SIGMA_MIN) * i) / 3) for i in range(4)],
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_four_steps_are_those_of_the_formula(scheduler: str) -> None:
    levels = _ladder(scheduler, 4)
    assert levels.dtype == torch.float32
    assert levels.tolist() == pytest.approx([*EXPECTED[scheduler], 0.0], rel=2e-6)


@given(
    st.sampled_from(SAMPLERS),
    st.sampled_from(SCHEDULERS),
    st.integers(1, 300),
    st.floats(0, 1, exclude_min=True),
)
@settings(max_examples=300)
def test_every_schedule_falls_to_zero(sampler: str, scheduler: str, steps: int, denoise: float) -> None:
    try:
        levels = _ladder(scheduler, steps, sampler, denoise)
    except BadRequest:
        endless = steps / denoise >= MAX_SCHEDULE
        single = scheduler == "kl_optimal" and steps / denoise < 2
        crowded = scheduler == "simple" and steps / denoise >= 999
        assume(not (endless or single or crowded))
        raise
    assert levels.isfinite().all()
    assert levels[-1] == 0
    assert (levels[:-1] > 0).all()
    drops = levels[:-1] - levels[1:]
    assert (drops >= 0).all() if scheduler == "simple" else (drops > 0).all()
    if scheduler not in ("ddim_uniform", "beta"):
        assert len(levels) == steps + 1
    if denoise < 0.9999:
        assert 2 <= len(levels) <= steps + 1


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_one_step_goes_to_zero_at_once_or_is_refused(scheduler: str) -> None:
    if scheduler == "kl_optimal":
        with pytest.raises(BadRequest, match="steps"):
            _ladder(scheduler, 1)
    else:
        first = SIGMA_MAX if scheduler != "ddim_uniform" else _training_sigma(1)
        assert _ladder(scheduler, 1).tolist() == pytest.approx([first, 0.0], rel=1e-6)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("sampler", ["dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2"])
def test_some_samplers_get_one_step_more_without_the_last_but_one_sigma(sampler: str, scheduler: str) -> None:
    more = _ladder(scheduler, 8 + 1).tolist()
    assert _ladder(scheduler, 8, sampler).tolist() == [*more[:-2], 0.0]


@pytest.mark.parametrize(("steps", "denoise", "whole"), [(6, 0.5, 12), (7, 0.3, 23), (20, 0.87, 22), (1, 0.4, 2)])
def test_denoise_runs_the_end_of_a_longer_schedule(steps: int, denoise: float, whole: int) -> None:
    for scheduler in SCHEDULERS:
        expected = _ladder(scheduler, whole)[-(steps + 1) :]
        assert torch.equal(_ladder(scheduler, steps, denoise=denoise), expected)


def test_almost_full_denoise_is_full() -> None:
    assert torch.equal(_ladder("normal", 5000, denoise=0.99991), _ladder("normal", 5000))
    assert not torch.equal(_ladder("normal", 5000, denoise=0.9998), _ladder("normal", 5000))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_ten_thousand_steps(scheduler: str) -> None:
    levels = _ladder(scheduler, 10000)
    counts = {"ddim_uniform": 1000, "beta": 1001}
    assert len(levels) == counts.get(scheduler, 10001)
    assert levels.isfinite().all()


@pytest.mark.parametrize("count", [2001, 2002, 3000, 54_321])
def test_a_long_beta_schedule_meets_each_timestep(count: int) -> None:
    nearest = np.rint(betaincinv(0.6, 0.6, 1 - np.linspace(0, 1, count, endpoint=False)) * 999)
    expected = np.append(STABLE_DIFFUSION_1.sigmas.numpy()[np.unique(nearest).astype(int)[::-1]], 0)
    assert sigmas(sampler="euler", scheduler="beta", steps=count, denoise=1.0).tolist() == expected.tolist()


def test_the_same_question_is_not_computed_again() -> None:
    first = sigmas(sampler="euler", scheduler="karras", steps=77, denoise=0.77)
    assert sigmas(sampler="euler", scheduler="karras", steps=77, denoise=0.77) is first


def test_repeated_sigmas_are_refused_for_those_who_divide_by_their_distance() -> None:
    assert len(_ladder("simple", 1000, "dpmpp_2m")) == 1001
    assert len(_ladder("simple", 1001, "euler")) == 1002
    for sampler in ("dpmpp_2m", "dpmpp_sde", "lms", "uni_pc", "deis"):
        with pytest.raises(BadRequest, match="steps") as refusal:
            _ladder("simple", 1001, sampler)
        assert "1000" in refusal.value.allowed or "999" in refusal.value.allowed


def test_dpm_fast_is_refused_where_it_has_no_way_to_go() -> None:
    assert len(_ladder("simple", 1500, "dpm_fast")) == 1501
    with pytest.raises(BadRequest):
        _ladder("simple", 9, "dpm_fast", denoise=0.0009)


@pytest.mark.parametrize("denoise", [5e-324, 1e-9, 1e-6])
def test_a_denoise_that_would_need_an_endless_schedule_is_refused(denoise: float) -> None:
    with pytest.raises(BadRequest, match="denoise"):
        _ladder("normal", 20, denoise=denoise)


def test_the_ends_are_those_of_the_training_sigmas() -> None:
    assert pytest.approx([_training_sigma(0), _training_sigma(999)]) == [SIGMA_MIN, SIGMA_MAX]
