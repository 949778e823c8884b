"""Samplers on models with exact predictions, and as generators."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from engine.sampling.noise import NoiseSource
from engine.sampling.samplers import SAMPLERS
from engine.sampling.samplers.protocol import Scalar, Stage
from engine.sampling.schedules import sigmas
from tests.samplers import (
    CFG_PP,
    FIXED,
    KNOWN_LEVELS,
    KNOWN_START,
    NAMES,
    NOISY,
    OWN_STEPS,
    UNI_PC,
    Waves,
    answer_to,
    begin,
    one_bump,
    one_bump_flow,
    run,
    trace,
    two_bumps,
    unit_bump,
)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("name", NAMES)
def test_data_of_one_point_is_found(name: str, steps: int) -> None:
    levels = sigmas(sampler=name, scheduler="karras", steps=steps, denoise=1.0)
    x = begin(3, (1, 4, 8, 8), levels)
    point = torch.linspace(-2, 2, x.numel()).reshape(x.shape)
    if name in OWN_STEPS:
        expected = point + (x - point) * levels[-2] / levels[0]
    elif name in UNI_PC and steps == 1:  # as ComfyUI: the noise, in the size that latents have
        expected = x / torch.sqrt(1 + levels[0] ** 2)
    elif name in UNI_PC:
        expected = point + (x - point) * 0.001 / levels[0]
    else:
        expected = point
    end = run(name, lambda *_: point, x, levels, NoiseSource(3, levels, x.shape))
    assert torch.allclose(end, expected, atol=2e-4 if name in (*OWN_STEPS, *UNI_PC) else 1e-5)


ORDERS = {
    **dict.fromkeys(("euler_cfg_pp", "gradient_estimation", "gradient_estimation_cfg_pp"), 1),
    **dict.fromkeys(("dpmpp_2m_cfg_pp", "res_multistep_cfg_pp"), 2),
    **dict.fromkeys(("euler", "ddim", "heunpp2"), 1),
    **dict.fromkeys(("heun", "dpm_2", "lms", "ipndm", "ipndm_v", "deis", "dpmpp_2m", "res_multistep"), 2),
    **dict.fromkeys(UNI_PC, 2),
    "dpm_fast": 3,
}
"""A multistep sampler begins with a step of first order, hence the twos."""


WITHOUT_NOISE = {
    **dict.fromkeys(("euler_ancestral", "euler_ancestral_cfg_pp"), 1),
    **dict.fromkeys(("dpm_2_ancestral", "dpmpp_2s_ancestral", "res_multistep_ancestral", "dpmpp_sde"), 2),
    **dict.fromkeys(("dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde", "seeds_2", "sa_solver"), 2),
    "seeds_3": 3,
}
"""The orders with an eta of 0."""


def _error(name: str, steps: int, **options: Any) -> float:
    """How far from the flow ``name`` is after ``steps`` steps, all of them positive sigmas; float64."""
    ramp = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    levels = (5 ** (1 / 3) * (1 - ramp) + 0.5 ** (1 / 3) * ramp) ** 3
    x = torch.tensor([-4.0, 7.0], dtype=torch.float64).reshape(1, 1, 1, 2)
    end, asked = trace(name, one_bump, x, torch.cat([levels, levels[:1] * 0]), **options)
    firsts = [wanted for wanted in asked if not isinstance(wanted, Stage)]
    reached, sigma = (end, levels[-1]) if name in OWN_STEPS else firsts[-1]
    return float((reached - one_bump_flow(x, 5.0, float(sigma))).abs().max())


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_halving_the_steps_divides_the_error_by_two_to_the_order(name: str, order: int) -> None:
    few, many = (40, 82) if name == "dpm_fast" else (64, 128)  # evaluations: one more, 2 more than a multiple of 3
    measured = math.log(_error(name, few) / _error(name, many)) / math.log(many / few)
    assert measured > order - 0.3


@pytest.mark.parametrize(("name", "order"), WITHOUT_NOISE.items())
def test_without_noise_the_noisy_ones_follow_the_flow(name: str, order: int) -> None:
    few, many = _error(name, 32, eta=0.0), _error(name, 64, eta=0.0)
    assert math.log2(few / many) > order - 0.3


@pytest.mark.parametrize("name", [name for name in CFG_PP if name != "dpmpp_2s_ancestral_cfg_pp"])
def test_cfg_pp_without_guidance_is_its_namesake(name: str) -> None:
    """The 2S one takes the unconditional prediction of its second evaluation beside the first's denoised."""
    levels = sigmas(sampler=name, scheduler="karras", steps=6, denoise=1.0)
    plain, guided = (run(each, two_bumps, KNOWN_START, levels) for each in (name.removesuffix("_cfg_pp"), name))
    assert torch.allclose(plain, guided, atol=1e-5)
    assert not torch.allclose(plain, run(name, two_bumps, KNOWN_START, levels, unconditional=unit_bump), atol=1e-3)


def test_dpm_adaptive_stays_near_the_flow() -> None:
    x = torch.tensor([-14.0, 0.0, 7.0, 20.0]).reshape(1, 1, 2, 2)
    end, asked = trace("dpm_adaptive", one_bump, x, KNOWN_LEVELS)
    assert torch.allclose(end, one_bump_flow(x, 14.6, 0.1), atol=0.02)
    assert 10 < len(asked) < 100


def test_dpm_adaptive_shortens_a_step_that_is_too_rough() -> None:
    sampler = SAMPLERS["dpm_adaptive"].function(KNOWN_START, KNOWN_LEVELS, Waves())
    asked = []
    wanted = next(sampler)
    while not isinstance(wanted, Scalar):
        asked.append(wanted)
        wanted = sampler.send(two_bumps(*wanted))
    _, retried = sampler.send(1000.0)  # no second evaluation where the step begins
    assert asked[1][1] < retried < asked[0][1]


def test_dpm_adaptive_gives_up_on_nan() -> None:
    assert run("dpm_adaptive", lambda x, sigma: x * math.nan, KNOWN_START, KNOWN_LEVELS).isnan().all()


@pytest.mark.parametrize("name", [name for name in NOISY if name not in ("lcm", "dpmpp_2s_ancestral_cfg_pp")])
def test_noise_keeps_the_spread_of_the_data(name: str) -> None:
    """Data of unit variance: the start is exactly their noised distribution, and so must be every level after it."""
    levels = sigmas(sampler=name, scheduler="karras", steps=40, denoise=1.0)
    x = begin(5, (1, 4, 64, 64), levels)
    end = run(name, unit_bump, x, levels, NoiseSource(5, levels, x.shape))
    assert float(end.std()) == pytest.approx(1, abs=0.08)
    assert float(end.mean()) == pytest.approx(0, abs=0.04)


@pytest.mark.parametrize("name", NAMES)
def test_the_noise_matters_where_it_should(name: str) -> None:
    levels = sigmas(sampler=name, scheduler="normal", steps=6, denoise=1.0)
    x = begin(5, (1, 4, 8, 8), levels)
    ends = [run(name, two_bumps, x, levels, NoiseSource(seed, levels, x.shape)) for seed in (1, 1, 2)]
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2]) == (name not in NOISY)


@pytest.mark.parametrize("name", FIXED)
def test_pictures_of_a_batch_do_not_touch(name: str) -> None:
    levels = sigmas(sampler=name, scheduler="normal", steps=5, denoise=1.0)
    x = torch.cat([KNOWN_START, KNOWN_START.flip(3)])
    together = run(name, two_bumps, x, levels)
    alone = torch.cat([run(name, two_bumps, picture, levels) for picture in x.split(1)])
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("name", FIXED)
def test_what_is_asked_does_not_depend_on_the_answers(name: str) -> None:
    levels = sigmas(sampler=name, scheduler="normal", steps=7, denoise=0.7)
    sigmas_asked = [
        [float(sigma) for _, sigma in trace(name, denoise, KNOWN_START, levels)[1]]
        for denoise in (two_bumps, lambda x, sigma: torch.zeros_like(x), lambda x, sigma: x * math.nan)
    ]
    assert sigmas_asked[0] == sigmas_asked[1] == sigmas_asked[2]
    assert all(sigma > 0 for sigma in sigmas_asked[0])


EVALUATIONS = {
    **dict.fromkeys(NAMES, 7),
    **dict.fromkeys(("heun", "dpm_2", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_2s_ancestral_cfg_pp"), 13),
    **dict.fromkeys(("dpmpp_sde", "dpmpp_sde_gpu", "seeds_2", "sa_solver_pece"), 13),
    "heunpp2": 18,
    "seeds_3": 19,
}


@pytest.mark.parametrize("name", FIXED)
def test_evaluations_of_seven_steps(name: str) -> None:
    levels = sigmas(sampler=name, scheduler="normal", steps=7, denoise=1.0)
    asked = trace(name, two_bumps, KNOWN_START, levels)[1]
    assert len(asked) == EVALUATIONS[name]
    firsts = [sigma for _, sigma in (wanted for wanted in asked if not isinstance(wanted, Stage))]
    if name == "dpm_fast":  # of its own three steps
        assert len(firsts) == 3
    else:
        assert [float(sigma) for sigma in firsts] == levels[:-1].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_closes_at_any_point(name: str) -> None:
    levels = sigmas(sampler=name, scheduler="normal", steps=4, denoise=1.0)
    for answers in range(8):
        sampler = SAMPLERS[name].function(KNOWN_START, levels, Waves())
        if answers:
            wanted = next(sampler)
        for _ in range(answers - 1):
            try:
                wanted = sampler.send(answer_to(name, wanted))
            except StopIteration:
                break
        sampler.close()
        with pytest.raises(StopIteration):
            next(sampler)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_is_never_waited_for(name: str) -> None:
    levels = sigmas(sampler=name, scheduler="normal", steps=6, denoise=1.0)
    x = begin(5, (1, 4, 8, 8), levels)
    expected = run(name, two_bumps, x, levels, NoiseSource(5, levels, x.shape))
    sampler = SAMPLERS[name].function(x.cuda(), levels, NoiseSource(5, levels, x.shape, "cuda"))
    answer: Any = None
    end = None
    while end is None:
        torch.cuda.set_sync_debug_mode("error")
        try:
            wanted = sampler.send(answer)
        except StopIteration as stop:
            end = stop.value
        finally:
            torch.cuda.set_sync_debug_mode("default")
        answer = answer_to(name, wanted)
    bound = 1e-2 if name == "dpm_adaptive" else 1e-4  # its step sizes follow from the values, last bits included
    assert torch.allclose(end.cpu(), expected, atol=bound)
