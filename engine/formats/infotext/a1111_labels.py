"""AUTOMATIC1111's names of samplers and schedule types, as its own pictures need them. Knows no infotext."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import BadRequest
from engine.formats.infotext.labels import SAMPLER_LABELS, SCHEDULER_LABELS, sampler_from_label
from engine.sampling.a1111.samplers import AUTOMATIC, OWN_SAMPLERS, SAMPLER_RULES, rule_of
from engine.sampling.a1111.schedules import SCHEDULES

A1111_SCHEDULE_LABELS: Mapping[str, str] = {
    AUTOMATIC: "Automatic",
    **{name: record.label for name, record in SCHEDULES.items()},
}
"""Schedule type → AUTOMATIC1111's label."""

_SCHEDULE_NAMES: Mapping[str, str] = {
    **{name: name for name in A1111_SCHEDULE_LABELS},
    **{label.casefold(): name for name, label in A1111_SCHEDULE_LABELS.items()},
    "sgmuniform": "sgm_uniform",
    "ddim": "ddim_uniform",
}

_OWN_NAMES: Mapping[str, str] = {
    **{name: name for name in OWN_SAMPLERS},
    **{SAMPLER_RULES[name].label.casefold(): name for name in OWN_SAMPLERS},
}


@dataclass(frozen=True, kw_only=True)
class A1111Sampler:
    """What a label of a sampler says."""

    sampler: str
    """A sampler of ours, or of ``OWN_SAMPLERS``."""
    schedule: str | None = None
    """The schedule type that stands behind it, as in "DPM++ 2M Karras"."""


def a1111_sampler_from_label(label: object) -> A1111Sampler:
    """Return what a label or API name of AUTOMATIC1111 says, or a name of ours, in any case.

    Raises ``BadRequest`` on ``sampler`` for a label that is not known.
    """
    key = label.strip().casefold() if isinstance(label, str) else ""
    for ending, schedule in (("", None), *_SCHEDULE_NAMES.items()):
        if schedule is not None and not key.endswith(f" {ending}"):
            continue
        name = key.removesuffix(f" {ending}") if schedule is not None else key
        found = _OWN_NAMES.get(name) or _known(name)
        if found is not None:
            return A1111Sampler(sampler=found, schedule=schedule)
    sampler, named = _or_refused(label)
    return A1111Sampler(sampler=sampler, schedule=named)


def schedule_from_label(label: object) -> str:
    """Return the schedule type of a label or an API name of AUTOMATIC1111, or a name of ours, in any case.

    Raises ``BadRequest`` on ``scheduler`` for one that is not known.
    """
    key = label.strip().casefold() if isinstance(label, str) else ""
    if key not in _SCHEDULE_NAMES:
        raise BadRequest("scheduler", label, f"one of {', '.join(A1111_SCHEDULE_LABELS.values())}")
    return _SCHEDULE_NAMES[key]


def written_schedule(schedule: str, sampler: str) -> str:
    """Return the label that AUTOMATIC1111 writes for a schedule type of a sampler.

    For ``automatic`` it is the one that the sampler takes, where that is another than ``uniform``.
    """
    if schedule == AUTOMATIC and rule_of(sampler).schedule != "uniform":
        schedule = rule_of(sampler).schedule
    return A1111_SCHEDULE_LABELS.get(schedule) or SCHEDULER_LABELS[schedule]


def a1111_label(sampler: str) -> str:
    """Return the label of a sampler of ours, or of ``OWN_SAMPLERS``."""
    return SAMPLER_RULES[sampler].label if sampler in SAMPLER_RULES else SAMPLER_LABELS[sampler]


def _known(name: str) -> str | None:
    try:
        sampler, schedule = sampler_from_label(name)
    except BadRequest:
        return None
    return sampler if schedule is None else None


def _or_refused(label: object) -> tuple[str, str | None]:
    try:
        return sampler_from_label(label)
    except BadRequest:
        labels = [*SAMPLER_LABELS.values(), *(SAMPLER_RULES[name].label for name in OWN_SAMPLERS)]
        raise BadRequest("sampler", label, f"one of {', '.join(labels)}") from None
