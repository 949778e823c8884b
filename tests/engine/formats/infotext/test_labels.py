"""AUTOMATIC1111's names for samplers and schedulers: one for each of ours, and all that are known are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadRequest
from engine.formats.infotext import (
    SAMPLER_LABELS,
    SCHEDULER_LABELS,
    automatic_scheduler,
    sampler_from_label,
    scheduler_from_label,
)
from engine.request import SAMPLERS, SCHEDULERS


def test_every_sampler_and_scheduler_has_a_label_of_its_own() -> None:
    assert tuple(SAMPLER_LABELS) == SAMPLERS
    assert tuple(SCHEDULER_LABELS) == SCHEDULERS
    for names, labels in ((SAMPLERS, SAMPLER_LABELS), (SCHEDULERS, SCHEDULER_LABELS)):
        assert len({label.casefold() for label in labels.values()}) == len(names)


@given(st.sampled_from(SAMPLERS), st.sampled_from(SCHEDULERS))
def test_labels_come_back(sampler: str, scheduler: str) -> None:
    label, schedule = SAMPLER_LABELS[sampler], SCHEDULER_LABELS[scheduler]
    for written in (label, label.upper(), f" {label} ", sampler):
        assert sampler_from_label(written) == (sampler, None)
    assert sampler_from_label(f"{label} {schedule}") == (sampler, scheduler)
    for written in (schedule, schedule.lower(), scheduler):
        assert scheduler_from_label(written, sampler) == scheduler


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Euler a", ("euler_ancestral", None)),
        ("k_euler_a", ("euler_ancestral", None)),
        ("k_dpmpp_2m_ka", ("dpmpp_2m", "karras")),
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("DPM++ 2M SDE Exponential", ("dpmpp_2m_sde", "exponential")),
        ("DPM++ 2M SDE Heun Karras", ("dpmpp_2m_sde_heun", "karras")),
        ("LMS Karras", ("lms", "karras")),
        ("DDIM", ("ddim", None)),
    ],
)
def test_older_and_shorter_sampler_names(label: str, expected: tuple[str, str | None]) -> None:
    assert sampler_from_label(label) == expected


@pytest.mark.parametrize("label", ["PLMS", "Restart", "", " Karras", "Karras", "DPM++ 2M Unknown", None, 5])
def test_unknown_labels_are_refused(label: object) -> None:
    with pytest.raises(BadRequest, match=r"sampler.*DPM\+\+ 2M SDE"):
        sampler_from_label(label)
    with pytest.raises(BadRequest, match="scheduler"):
        scheduler_from_label("Align Your Steps", "euler")


def test_automatic_depends_on_the_sampler() -> None:
    assert automatic_scheduler("euler") == scheduler_from_label("Automatic", "euler") == "normal"
    assert scheduler_from_label("automatic", "dpmpp_2m") == "karras"
    assert scheduler_from_label("Automatic", "dpmpp_2m_sde") == "exponential"
    assert scheduler_from_label("Automatic", "ddim") == "ddim_uniform"
    assert scheduler_from_label("Uniform", "dpmpp_2m") == "normal"
    assert all(automatic_scheduler(sampler) in SCHEDULERS for sampler in SAMPLERS)
