"""Samplers against closed forms, against independent implementations, and as generators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.sampling.beginning import first_x
from engine.sampling.noise import NoiseSource, start_noise
from engine.sampling.samplers import SAMPLERS
from engine.sampling.samplers.protocol import Scalar
from engine.sampling.schedules import sigmas

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


KNOWN_LEVELS = torch.tensor([14.6, 6.0, 2.5, 1.0, 0.4, 0.1, 0.0])
KNOWN_START = torch.tensor([-9.0, -2.0, 3.0, 12.0]).reshape(1, 1, 2, 2)
KNOWN_ENDS = {  # by k-diffusion 0.1.1.post1; those it does not have, by separate transcriptions of their definitions
    "euler": (-0.786163, -0.249486, 0.355407, 0.935126),
    "euler_ancestral": (-1.022210, -0.859115, -0.044077, 1.008666),
    "heun": (-1.053144, -0.442177, 0.576087, 1.226072),
    "heunpp2": (-0.821326, -0.271636, 0.383352, 0.971156),
    "dpm_2": (-1.006171, -0.414725, 0.537041, 1.170052),
    "dpm_2_ancestral": (-1.429661, -1.560776, -0.951177, 1.357225),
    "lms": (-0.883834, -0.309054, 0.432549, 1.031744),
    "dpm_fast": (-1.062219, -0.353670, 0.502743, 1.246529),
    "dpm_adaptive": (-1.022589, -0.384026, 0.510559, 1.190542),
    "dpmpp_2s_ancestral": (-1.155868, -1.069462, -0.558248, 1.123135),
    "dpmpp_sde": (-0.584843, -0.468110, 0.435882, 0.603449),
    "dpmpp_2m": (-1.035794, -0.388783, 0.536458, 1.193564),
    "dpmpp_2m_sde": (-0.957934, -0.938087, 0.503668, 0.950502),
    "dpmpp_2m_sde_heun": (-1.094045, -1.103228, 0.621474, 1.080819),
    "dpmpp_3m_sde": (-0.900637, -1.164735, 0.747792, 0.881780),
    "ddpm": (-1.022210, -0.859115, -0.044077, 1.008666),
    "lcm": (-1.014842, -0.692082, 0.565256, 1.022757),
    "ddim": (-0.786163, -0.249486, 0.355407, 0.935126),
    "uni_pc": (-1.293690, -0.562537, 0.753647, 1.447769),
    "uni_pc_bh2": (-1.153811, -0.470835, 0.636042, 1.312242),
    "ipndm": (-0.971761, -0.439194, 0.585840, 1.094408),
    "ipndm_v": (-0.967733, -0.377673, 0.517610, 1.110245),
    "deis": (-0.948716, -0.355087, 0.489554, 1.097774),
    "res_multistep": (-1.091322, -0.421130, 0.578071, 1.251270),
}


@pytest.mark.parametrize("name", KNOWN_ENDS)
def test_agrees_with_an_independent_implementation(name: str) -> None:
    end = run(name, two_bumps, KNOWN_START, KNOWN_LEVELS, unconditional=unit_bump)
    assert end.flatten().tolist() == pytest.approx(KNOWN_ENDS[name], abs=3e-6)


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
    **dict.fromkeys(("euler", "ddim", "heunpp2"), 1),
    **dict.fromkeys(("heun", "dpm_2", "lms", "ipndm", "ipndm_v", "deis", "dpmpp_2m", "res_multistep"), 2),
    **dict.fromkeys(UNI_PC, 2),
    "dpm_fast": 3,
}
"""A multistep sampler begins with a step of first order, hence the twos."""


def _error(name: str, steps: int) -> float:
    """How far from the flow ``name`` is after so many steps, all of them positive sigmas; float64."""
    ramp = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    levels = (5 ** (1 / 3) * (1 - ramp) + 0.5 ** (1 / 3) * ramp) ** 3
    x = torch.tensor([-4.0, 7.0], dtype=torch.float64).reshape(1, 1, 1, 2)
    end, asked = trace(name, one_bump, x, torch.cat([levels, levels[:1] * 0]))
    reached, sigma = (end, levels[-1]) if name in OWN_STEPS else asked[-1]
    return float((reached - one_bump_flow(x, 5.0, float(sigma))).abs().max())


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_halving_the_steps_divides_the_error_by_two_to_the_order(name: str, order: int) -> None:
    few, many = (40, 82) if name == "dpm_fast" else (64, 128)  # evaluations: one more, 2 more than a multiple of 3
    measured = math.log(_error(name, few) / _error(name, many)) / math.log(many / few)
    assert measured > order - 0.3


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
    assert len(trace(name, two_bumps, KNOWN_START, levels)[1]) == EVALUATIONS[name]


def answer_to(name: str, wanted: Any) -> Any:
    """What the sampler is to be sent for what it asked for."""
    if isinstance(wanted, Scalar):
        return float(wanted.tensor)
    denoised = two_bumps(*wanted)
    return (denoised, denoised) if SAMPLERS[name].needs_unconditional else denoised


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
