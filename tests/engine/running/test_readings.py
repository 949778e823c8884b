"""A node for a model says at which noise levels it is sampled, before its weights are loaded."""

from __future__ import annotations

import math

import pytest
import torch

from engine import BadRequest
from engine.running.checking import check
from engine.running.functions import Bench, function_of
from engine.running.observer import Unobserved
from engine.running.readings import levels_of, parametrization_of
from engine.sampling.levels import STABLE_DIFFUSION_1
from engine.sampling.parametrization import CONTINUOUS, DISCRETE, continuous, discrete
from engine.workflow.a1111 import FractionalReading, UniPcSigmas
from engine.workflow.models import Checkpoint
from engine.workflow.patches import ContinuousReading, DiscreteReading
from engine.workflow.sampling import ScheduledSigmas, TurboSigmas
from tests.patched import patched

CHECKPOINT = Checkpoint(name="a")


def test_a_model_has_the_levels_of_the_reading_behind_it() -> None:
    inner = DiscreteReading(model=CHECKPOINT, sampling="v_prediction", zsnr=True)
    outer = DiscreteReading(model=inner, sampling="lcm")
    assert levels_of(CHECKPOINT) is STABLE_DIFFUSION_1
    assert levels_of(inner).sigma_max == pytest.approx(4518.7, rel=1e-3)
    assert levels_of(outer).count == 50
    assert levels_of(outer) is levels_of(DiscreteReading(model=CHECKPOINT, sampling="lcm"))


def test_a_distilled_model_knows_every_twentieth_timestep() -> None:
    levels = levels_of(DiscreteReading(model=CHECKPOINT, sampling="lcm"))
    assert [levels.timestep(sigma) for sigma in levels.sigmas] == list(range(19, 1000, 20))
    assert levels.sigma_at(torch.tensor([999.0, 19.0])).tolist() == pytest.approx(
        [STABLE_DIFFUSION_1.sigma_max, float(STABLE_DIFFUSION_1.sigmas[19])]
    )


def test_continuous_levels_reach_from_end_to_end() -> None:
    levels = levels_of(ContinuousReading(model=CHECKPOINT, sigma_max=20.0, sigma_min=0.03))
    assert (levels.sigma_min, levels.sigma_max) == pytest.approx((0.03, 20.0))
    assert levels.sigma_at_percent(0.5) == pytest.approx(math.sqrt(0.03 * 20))
    assert float(levels.sigma_at(torch.tensor(levels.timestep(torch.tensor(3.0))))) == pytest.approx(3.0)


@pytest.mark.parametrize("kind", DISCRETE)
def test_every_discrete_kind_is_read(kind: str) -> None:
    assert parametrization_of(DiscreteReading(model=CHECKPOINT, sampling=kind)) is discrete(
        kind, zero_terminal_snr=False
    )


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_every_continuous_kind_is_read(kind: str) -> None:
    node = ContinuousReading(model=CHECKPOINT, sampling=kind, sigma_max=10.0, sigma_min=0.1)
    assert parametrization_of(node) is continuous(kind, sigma_min=0.1, sigma_max=10.0)


@pytest.mark.parametrize("kind", ["eps", "v_prediction", "edm"])
def test_a_perfect_network_is_read_as_the_clean_latents(kind: str) -> None:
    """Its output is made of clean latents and noise as the papers define it."""
    clean, noise, sigma = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2), torch.tensor(2.5)
    reading = continuous(kind, sigma_min=0.01, sigma_max=100.0)
    data, x = reading.data_sigma, clean + noise * sigma
    total = (sigma**2 + data**2).sqrt()
    velocity = (x * data**2 / total**2 - clean) * total / (sigma * data)
    output = {"eps": noise, "v_prediction": velocity, "edm": -velocity}[kind]
    assert torch.allclose(reading.denoised(x, sigma, output), clean, atol=1e-5)


@pytest.mark.parametrize("sigma_min", [2.0, 1e-300])
def test_levels_the_wrong_way_round_or_too_small_are_refused(sigma_min: float) -> None:
    with pytest.raises(BadRequest) as refused:
        check(patched(lambda model: ContinuousReading(model=model, sigma_max=1.0, sigma_min=sigma_min)))
    assert (refused.value.field, refused.value.value) == ("sigma_min", sigma_min)
    assert isinstance(refused.value.node, ContinuousReading)


def test_schedules_follow_the_models_levels() -> None:
    workflow = patched(
        lambda model: DiscreteReading(model=model, sampling="v_prediction", zsnr=True), scheduler="simple"
    )
    schedule = next(node for node in workflow.nodes if isinstance(node, ScheduledSigmas))
    bench = Bench(torch.device("cpu"), {}, {}, Unobserved())
    assert float(function_of(schedule)(schedule, bench)[0]) == pytest.approx(4518.7, rel=1e-3)


def test_unipc_runs_no_more_timesteps_than_there_are() -> None:
    model, bench = FractionalReading(model=CHECKPOINT), Bench(torch.device("cpu"), {}, {}, Unobserved())
    most = UniPcSigmas(model=model, steps=10, run=10)
    assert len(function_of(most)(most, bench)) == 11
    more = UniPcSigmas(model=model, steps=10, run=11)
    with pytest.raises(BadRequest, match="run: 11"):
        function_of(more)(more, bench)


def test_turbo_needs_training_timesteps() -> None:
    model = ContinuousReading(model=CHECKPOINT)
    with pytest.raises(BadRequest, match="training timesteps"):
        function_of(TurboSigmas(model=model))(
            TurboSigmas(model=model), Bench(torch.device("cpu"), {}, {}, Unobserved())
        )
