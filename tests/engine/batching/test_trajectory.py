"""One sampling in flight: pieces of a large batch, progress, numbers from the device."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine.batching.branches import Branch, Part
from engine.batching.guidance import ClassifierFree
from engine.batching.predictor import Predictor, Takeover
from engine.batching.trajectory import Trajectory, evaluation_count
from engine.sampling.noise import NoiseSource
from engine.sampling.samplers.table import SAMPLERS
from engine.sampling.schedules import sigmas


class OnePictureAtATime:
    """Stands for a denoiser whose UNet calls hold one picture."""

    def pictures_at_once(self, parts: int) -> int:
        return 1

    def with_common_length(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        return parts

    def groups(self, evaluation: Any) -> frozenset[str]:
        return frozenset({"same"})


def schedule(sampler: str, steps: int) -> torch.Tensor:
    return sigmas(sampler=sampler, scheduler="normal", steps=steps, denoise=1.0)


def trajectory(
    *, sampler: str = "euler", steps: int = 4, batch_size: int = 1, then: Takeover | None = None
) -> Trajectory:
    denoiser: Any = OnePictureAtATime()
    x, levels = torch.randn(batch_size, 4, 8, 8), schedule(sampler, steps)
    return Trajectory(
        sampler=sampler,
        x=x,
        sigmas=levels,
        noise=NoiseSource(0, levels, x.shape),
        predictor=Predictor(
            guidance=ClassifierFree(scale=4.0),
            branches=tuple(Branch(parts=(Part(conditioning=torch.zeros(1, 77, 64)),)) for _ in range(2)),
            denoiser=denoiser,
            then=then,
        ),
    )


def send(flying: Trajectory, x: torch.Tensor, sigma: torch.Tensor) -> None:
    """Have both parts predict half of x."""
    eps = x / 2 / sigma
    flying.send([(eps,), (eps,)])


def test_a_large_batch_is_predicted_in_pieces_and_advances_as_a_whole() -> None:
    flying = trajectory(batch_size=3, steps=2)
    assert (flying.pictures, flying.rows) == (3, 2)
    for step in (0, 1):
        pieces = []
        for _ in range(3):
            assert flying.step == step
            wanted = flying.evaluation()
            assert wanted is not None
            assert wanted.x.shape == (1, 4, 8, 8)
            pieces.append(wanted.x)
            send(flying, wanted.x, wanted.sigma)
        assert flying.denoised is not None
        torch.testing.assert_close(flying.denoised, torch.cat(pieces) * 0.5)
    assert flying.evaluation() is None
    assert flying.x is not None
    torch.testing.assert_close(flying.x, flying.denoised)


@pytest.mark.parametrize("sampler", [name for name, record in SAMPLERS.items() if not record.adaptive])
@pytest.mark.parametrize("steps", [1, 2, 3, 9, 10, 11, 30])
def test_progress_knows_how_many_evaluations_there_will_be(sampler: str, steps: int) -> None:
    flying = trajectory(sampler=sampler, steps=steps)
    count = 0
    while (wanted := flying.evaluation()) is not None:
        assert flying.step < steps
        send(flying, wanted.x, wanted.sigma)
        count += 1
    assert count == evaluation_count(sampler, len(schedule(sampler, steps)))
    assert count == 0 or flying.step == steps


@pytest.mark.parametrize("sampler", [name for name, record in SAMPLERS.items() if not record.adaptive])
def test_records_say_how_often_a_sampler_evaluates_in_a_step(sampler: str) -> None:
    assert evaluation_count(sampler, 31) - evaluation_count(sampler, 21) == 10 * SAMPLERS[sampler].evaluations


def test_dpm_adaptive_is_not_ready_until_its_number_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    flying = trajectory(sampler="dpm_adaptive")
    assert flying.steps is None
    arrived = False
    monkeypatch.setattr("engine.device.transfer.Fetch.ready", lambda self: arrived)
    for _ in range(3):
        wanted = flying.evaluation()
        assert wanted is not None
        send(flying, wanted.x, wanted.sigma)
    assert flying.evaluation() is None
    assert flying.x is None
    arrived = True
    assert flying.evaluation() is not None


def test_a_step_shows_the_prediction_of_its_first_evaluation() -> None:
    flying = trajectory(sampler="heun", steps=2)
    shown = []
    for _ in range(3):  # two for the first step, one for the last
        wanted = flying.evaluation()
        assert wanted is not None
        send(flying, wanted.x, wanted.sigma)
        assert flying.denoised is not None
        shown.append((wanted.x * 0.5, flying.denoised))
    torch.testing.assert_close(shown[0][1], shown[0][0])
    assert shown[1][1] is shown[0][1]
    torch.testing.assert_close(shown[2][1], shown[2][0])


@pytest.mark.parametrize(
    ("share", "evaluations", "before"), [(0.5, 4, 2), (0, 4, 0), (1, 4, 4), (0.5, 0, 2), (1, 0, 4)]
)
def test_another_predictor_takes_over_behind_a_share_of_the_sampling(
    share: float, evaluations: int, before: int
) -> None:
    others: Any = OnePictureAtATime()
    other = Predictor(
        guidance=ClassifierFree(scale=4.0),
        branches=tuple(Branch(parts=(Part(conditioning=torch.ones(1, 77, 64)),)) for _ in range(2)),
        denoiser=others,
    )
    flying = trajectory(steps=4, then=Takeover(predictor=other, share=share, evaluations=evaluations))
    for number in range(4):
        wanted = flying.evaluation()
        assert wanted is not None
        behind = number >= before
        assert (flying.denoiser is others) == behind
        assert bool(wanted.parts[0].conditioning.any()) == behind
        send(flying, wanted.x, wanted.sigma)
    assert flying.x is not None
