"""The records of the samplers, the options that they take, and schedules that do not end at 0."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
import torch

from engine.errors import BadRequest, GenerationFailed
from engine.sampling.noise import NoiseSource
from engine.sampling.samplers import SAMPLERS
from engine.sampling.schedules import cut, flip, sigmas, split
from tests.samplers import (
    FIXED,
    KNOWN_LEVELS,
    KNOWN_START,
    NAMES,
    OWN_STEPS,
    begin,
    one_bump,
    one_bump_flow,
    run,
    trace,
    two_bumps,
)


def test_comfyuis_42_names_each_have_a_label_of_their_own() -> None:
    assert len(SAMPLERS) == 42
    assert len({record.label.casefold() for record in SAMPLERS.values()}) == 42
    assert all(name == record.name for name, record in SAMPLERS.items())


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_gpu")])
def test_the_noise_of_a_gpu_is_that_of_a_cpu(name: str) -> None:
    levels = sigmas(sampler=name, scheduler="karras", steps=4, denoise=1.0)
    x = begin(1, (1, 4, 8, 8), levels)
    ends = [run(each, two_bumps, x, levels, NoiseSource(1, levels, x.shape)) for each in (name, name[:-4])]
    assert torch.equal(*ends)


def test_the_tables_need_no_torch() -> None:
    program = (
        "import sys; from engine.sampling.samplers import SAMPLERS; from engine.sampling.schedulers import SCHEDULERS;"
        "import engine.request; print('torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(BadRequest, match=r"gamma.*euler_ancestral: eta, s_noise"):
        SAMPLERS["euler_ancestral"].configured({"gamma": 2.0})
    with pytest.raises(BadRequest, match="eta"):
        SAMPLERS["euler"].configured({"eta": 1.0})


OTHER_VALUES = {
    **dict.fromkeys(("eta", "sde_start_percent", "sde_end_percent"), 0.5),
    **dict.fromkeys(("predictor_order", "corrector_order"), 1),
    **dict.fromkeys(("order", "max_stage"), 2),
    **dict.fromkeys(("rtol", "atol", "r"), 0.3),
    **dict.fromkeys(("pcoeff", "dcoeff", "r_1"), 0.2),
    **dict.fromkeys(("s_noise", "icoeff", "r_2"), 0.8),
    "gamma": 1.5,
    "h_init": 0.4,
    "accept_safety": 0.9,
}
CHANGES = [
    (name, {option: value})
    for name, record in SAMPLERS.items()
    for option, value in OTHER_VALUES.items()
    if option in record.options
    and not (option == "s_noise" and not record.options["eta"])
    and not (name == "er_sde" and option == "eta")
]
"""Every option of every sampler with another value, but for those that need a second one to show."""


@pytest.mark.parametrize(("name", "options"), CHANGES, ids=str)
def test_every_option_changes_the_picture(name: str, options: dict[str, Any]) -> None:
    levels = sigmas(sampler=name, scheduler="karras", steps=8, denoise=1.0)
    default, other = (run(name, two_bumps, KNOWN_START, levels, **each) for each in ({}, options))
    assert other.isfinite().all()
    assert not torch.allclose(default, other, atol=1e-5)


def test_options_make_one_sampler_of_another() -> None:
    levels = sigmas(sampler="euler", scheduler="karras", steps=8, denoise=1.0)

    def end(name: str, **options: Any) -> torch.Tensor:
        return run(name, two_bumps, KNOWN_START, levels, **options)

    for (name, options), (other, others) in [
        (("euler_ancestral", {"eta": 0.0}), ("euler", {})),
        (("lms", {"order": 1}), ("euler", {})),
        (("gradient_estimation", {"gamma": 1.0}), ("euler", {})),
        (("res_multistep", {"eta": 1.0}), ("res_multistep_ancestral", {})),
        (("dpmpp_2m_sde", {"solver_type": "heun"}), ("dpmpp_2m_sde_heun", {})),
        (("dpmpp_2m_sde", {"eta": 0.0}), ("dpmpp_2m", {})),
        (("er_sde", {"solver_type": "ODE", "max_stage": 1}), ("euler", {})),
        (("er_sde", {"solver_type": "Reverse-time SDE", "eta": 0.0}), ("er_sde", {"solver_type": "ODE"})),
        (("sa_solver", {"use_pece": True}), ("sa_solver_pece", {})),
        (("seeds_2", {"eta": 0.0, "s_noise": 3.0}), ("seeds_2", {"eta": 0.0})),
    ]:
        assert torch.allclose(end(name, **options), end(other, **others), atol=1e-5), (name, other)
    assert not torch.allclose(end("er_sde", solver_type="Reverse-time SDE"), end("er_sde"), atol=1e-3)


def test_a_large_eta_takes_every_step_to_denoised() -> None:
    levels = sigmas(sampler="euler_ancestral", scheduler="karras", steps=4, denoise=1.0)
    for name in ("euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "res_multistep_ancestral"):
        end, asked = trace(name, two_bumps, KNOWN_START, levels, eta=50.0)
        assert end.isfinite().all()
        assert len(asked) == 4


def test_dpm_adaptive_of_order_two_and_with_noise() -> None:
    x = torch.tensor([-14.0, 0.0, 7.0, 20.0]).reshape(1, 1, 2, 2)
    end, asked = trace("dpm_adaptive", one_bump, x, KNOWN_LEVELS, order=2, rtol=0.005, atol=0.001)
    assert torch.allclose(end, one_bump_flow(x, 14.6, 0.1), atol=0.02)
    assert len(asked) > 10
    noisy = [run("dpm_adaptive", one_bump, x, KNOWN_LEVELS, NoiseSource(seed, KNOWN_LEVELS, x.shape), eta=0.5)
             for seed in (1, 1, 2)]  # fmt: skip
    assert torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy[0], noisy[2])
    with pytest.raises(BadRequest, match="rtol"):
        run("dpm_adaptive", one_bump, x, KNOWN_LEVELS, rtol=0.0, atol=0.0)
    with pytest.raises(BadRequest, match="order"):
        run("dpm_adaptive", one_bump, x, KNOWN_LEVELS, order=4)


@pytest.mark.parametrize("options", [{"accept_safety": 3.0}, {"h_init": 0.0}])
def test_dpm_adaptive_fails_rather_than_try_for_ever(options: dict[str, float]) -> None:
    with pytest.raises(GenerationFailed, match="rtol"):
        run("dpm_adaptive", two_bumps, begin(3, (1, 4, 8, 8), KNOWN_LEVELS), KNOWN_LEVELS, **options)


@pytest.mark.parametrize("name", FIXED)
def test_a_part_of_a_schedule_ends_at_its_last_sigma(name: str) -> None:
    """Data of one point: whatever the rule, x keeps its distance from it in units of sigma where no noise is added."""
    whole = sigmas(sampler=name, scheduler="karras", steps=8, denoise=1.0)
    part = cut(whole, end=5, leftover=True)
    x = begin(3, (1, 4, 8, 8), part)
    point = torch.linspace(-2, 2, x.numel()).reshape(x.shape)
    options = {"eta": 0.0} if "eta" in SAMPLERS[name].options else {}
    if name in ("ddpm", "lcm"):
        end = run(name, lambda *_: point, x, part, NoiseSource(3, part, x.shape))
        assert float((end - point).std() / part[-1]) == pytest.approx(1, abs=0.25)
    elif name == "er_sde":
        end = run(name, lambda *_: point, x, part, solver_type="ODE")
        assert torch.allclose(end, point + (x - point) * part[-1] / part[0], atol=1e-4)
    elif name == "dpmpp_2s_ancestral_cfg_pp":
        assert run(name, lambda *_: point, x, part, NoiseSource(3, part, x.shape), **options).isfinite().all()
    else:
        end = run(name, lambda *_: point, x, part, NoiseSource(3, part, x.shape), **options)
        assert torch.allclose(end, point + (x - point) * part[-1] / part[0], atol=2e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OWN_STEPS])
def test_no_interval_leaves_x_as_it_is(name: str) -> None:
    x = begin(3, (1, 4, 8, 8), KNOWN_LEVELS)
    end, asked = trace(name, two_bumps, x, KNOWN_LEVELS[2:3])
    assert asked == []
    assert torch.allclose(end, x, atol=1e-4)


def test_a_picture_goes_back_to_its_noise() -> None:
    levels = flip(KNOWN_LEVELS)
    x = torch.tensor([-1.0, 0.5, 1.5, 2.0]).reshape(1, 1, 2, 2)
    up = run("euler", one_bump, x, torch.cat([torch.logspace(-4, 1, 2000), levels[-1:]]))
    assert torch.allclose(up, one_bump_flow(x, 1e-4, 14.6), rtol=0.02)


def test_brownian_noise_spans_the_sigmas_that_are_run() -> None:
    whole = sigmas(sampler="dpmpp_2m_sde", scheduler="karras", steps=8, denoise=1.0)
    first, second = split(whole, step=4)
    sources = [NoiseSource(3, levels, (1, 4, 8, 8)) for levels in (whole, second)]
    pair = next(iter(pairwise(second)))
    assert not torch.allclose(*(source.brownian(*pair) for source in sources), atol=0.1)
    assert NoiseSource(3, first, (1, 4, 8, 8)).brownian(first[1], first[2]).isfinite().all()
