"""How many steps schedules have, known before they are made."""

from __future__ import annotations

import pytest

from engine.workflow.a1111 import FractionalReading, UniPcSigmas
from engine.workflow.models import Checkpoint
from engine.workflow.needs import steps_of
from engine.workflow.sampling import (
    CutSigmas,
    FlipSigmas,
    KarrasSigmas,
    ScheduledSigmas,
    Sigmas,
    SplitSigmas,
    SplitSigmasDenoise,
)

MODEL = Checkpoint()
TWENTY = KarrasSigmas(steps=20)


@pytest.mark.parametrize(
    ("sigmas", "steps"),
    [
        (TWENTY, 20),
        (ScheduledSigmas(model=MODEL, steps=9, denoise=0), 0),
        (SplitSigmas(sigmas=TWENTY, step=12, part="high"), 12),
        (SplitSigmas(sigmas=TWENTY, step=12, part="low"), 8),
        (SplitSigmas(sigmas=TWENTY, step=30, part="low"), 0),
        (SplitSigmasDenoise(sigmas=TWENTY, denoise=0.25, part="low"), 5),
        (CutSigmas(sigmas=FlipSigmas(sigmas=TWENTY), start=4, end=10), 6),
        (UniPcSigmas(model=FractionalReading(model=MODEL), steps=20, run=7), 7),
        (UniPcSigmas(model=FractionalReading(model=MODEL), steps=20), 20),
    ],
)
def test_parts_of_schedules_have_their_share_of_the_steps(sigmas: Sigmas, steps: int) -> None:
    assert steps_of(sigmas) == steps


def test_schedules_made_of_schedules_are_counted_once_each() -> None:
    sigmas: Sigmas = TWENTY
    for _ in range(2000):
        sigmas = SplitSigmas(sigmas=FlipSigmas(sigmas=sigmas), step=0, part="low")
    assert steps_of(sigmas) == 20
