"""The table of AUTOMATIC1111's schedules: one record for each of its schedule types.

Needs no torch, so that names can be read at no cost. A new one is a curve in ``curves`` and a record here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class ScheduleRecord:
    """What is known of one schedule type."""

    name: str
    """ComfyUI's name where both have it, though not always with the same levels."""

    label: str
    """AUTOMATIC1111's label."""

    rho: float | None = None
    """The power that it has where a caller names none; None: it has no use for one."""


_RECORDS = (
    ScheduleRecord(name="uniform", label="Uniform"),
    ScheduleRecord(name="karras", label="Karras", rho=7.0),
    ScheduleRecord(name="exponential", label="Exponential"),
    ScheduleRecord(name="polyexponential", label="Polyexponential", rho=1.0),
    ScheduleRecord(name="sgm_uniform", label="SGM Uniform"),
    ScheduleRecord(name="kl_optimal", label="KL Optimal"),
    ScheduleRecord(name="align_your_steps", label="Align Your Steps"),
    ScheduleRecord(name="simple", label="Simple"),
    ScheduleRecord(name="normal", label="Normal"),
    ScheduleRecord(name="ddim_uniform", label="DDIM"),
    ScheduleRecord(name="beta", label="Beta"),
)

SCHEDULES: Mapping[str, ScheduleRecord] = MappingProxyType({record.name: record for record in _RECORDS})
"""The records by name, in AUTOMATIC1111's order."""
