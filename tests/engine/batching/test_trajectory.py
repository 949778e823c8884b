"""One request in flight: pieces of a large batch, progress, numbers from the device."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine.batching.trajectory import Trajectory, evaluation_count, sigmas_of
from engine.sampling.samplers import SAMPLERS
from tests.requests import small


class OnePictureAtATime:
    """Stands for a denoiser whose UNet calls hold one picture."""

    def pictures_at_once(self, cfg_scale: float) -> int:
        return 1

    def group(self, evaluation: Any) -> str:
        return "same"


def trajectory(**parameters: Any) -> Trajectory:
    denoiser: Any = OnePictureAtATime()
    return Trajectory(small(**parameters), denoiser, torch.zeros(1, 77, 64), torch.zeros(1, 77, 64))


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
            flying.send(wanted.x * 0.5)
        assert flying.denoised is not None
        assert torch.equal(flying.denoised, torch.cat(pieces) * 0.5)
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
        flying.send(torch.stack([wanted.x * 0.5] * 2) if wanted.unconditional else wanted.x * 0.5)
        count += 1
    assert count == evaluation_count(sampler, len(sigmas_of(small(sampler=sampler, steps=steps))))
    assert count == 0 or flying.step == steps


def test_a_sampler_that_needs_the_unconditional_prediction_is_sent_it_in_pieces_too() -> None:
    flying = trajectory(sampler="euler_cfg_pp", batch_size=2, steps=1, cfg_scale=1)
    denoised, unconditional, x = [], [], []
    for _ in range(2):
        wanted = flying.evaluation()
        assert wanted is not None
        assert wanted.rows == 2
        x.append(wanted.x)
        denoised.append(wanted.x * 0.5)
        unconditional.append(wanted.x * 0.25)
        flying.send(torch.stack([denoised[-1], unconditional[-1]]))
        assert flying.latest == 1
    assert flying.denoised is not None
    assert torch.equal(flying.denoised, torch.cat(denoised))
    assert flying.x is not None
    torch.testing.assert_close(flying.x, torch.cat(denoised))


def test_dpm_adaptive_is_not_ready_until_its_number_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    flying = trajectory(sampler="dpm_adaptive")
    assert flying.steps is None
    arrived = False
    monkeypatch.setattr("engine.device.transfer.Fetch.ready", lambda self: arrived)
    for _ in range(3):
        wanted = flying.evaluation()
        assert wanted is not None
        flying.send(wanted.x * 0.5)
    assert flying.evaluation() is None
    assert flying.x is None
    arrived = True
    assert flying.evaluation() is not None
