"""The table of schedulers: one record for each of ComfyUI's names.

Needs no torch, so that the command line and the checks of a request can read the names at no cost. A new scheduler is
a function in ``engine.sampling.schedules.curves`` and a record here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from torch import Tensor

    from engine.sampling.levels import NoiseLevels


@dataclass(frozen=True, kw_only=True)
class SchedulerRecord:
    """What the engine and the formats know about one scheduler."""

    name: str
    """ComfyUI's name."""

    label: str
    """AUTOMATIC1111's label, or one in its style."""

    path: str
    """The function's name in ``engine.sampling.schedules.curves``."""

    least_steps: int = 1
    """The fewest steps for which the formula has a finite answer."""

    repeats: bool = False
    """Whether sigmas repeat where there are more steps than training sigmas."""

    @cached_property
    def function(self) -> Callable[[int, NoiseLevels], Tensor]:
        """The curve: steps and noise levels → positive sigmas, falling, float32 on the CPU, without the final 0."""
        curve = getattr(importlib.import_module("engine.sampling.schedules.curves"), self.path)
        return cast("Callable[[int, NoiseLevels], Tensor]", curve)


_RECORDS = (
    SchedulerRecord(name="simple", label="Simple", path="simple", repeats=True),
    SchedulerRecord(name="sgm_uniform", label="SGM Uniform", path="sgm_uniform"),
    SchedulerRecord(name="karras", label="Karras", path="karras"),
    SchedulerRecord(name="exponential", label="Exponential", path="exponential"),
    SchedulerRecord(name="ddim_uniform", label="DDIM", path="ddim_uniform"),
    SchedulerRecord(name="beta", label="Beta", path="beta"),
    SchedulerRecord(name="normal", label="Normal", path="normal"),
    SchedulerRecord(name="linear_quadratic", label="Linear Quadratic", path="linear_quadratic"),
    SchedulerRecord(name="kl_optimal", label="KL Optimal", path="kl_optimal", least_steps=2),
)

SCHEDULERS: Mapping[str, SchedulerRecord] = MappingProxyType({record.name: record for record in _RECORDS})
"""The records by name, in ComfyUI's order."""
