"""Defines a figure: one measured quantity with all its samples. Knows nothing of how it is measured or shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.measuring.samples import median, percentile

Better = Literal["lower", "higher", "neither"]
Condition = str | int | float


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured quantity: of which subject, under which conditions, in which unit, with which samples."""

    section: str
    name: str
    subject: str
    """What was measured: ``engine float16``, ``stock diffusers float16``, …, or ``machine``."""
    unit: str
    """``s``, ``images/s``, ``GiB``, ``dB``, ``×``, …; a share is a number with the unit ``of 1``."""
    samples: tuple[float, ...]
    better: Better = "neither"
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    """What distinguishes this figure from others of its name: number of clients, arrival rate, rows."""

    @property
    def key(self) -> tuple[object, ...]:
        """Equal in figures of two reports that measure the same thing."""
        return (self.section, self.name, self.subject, *sorted(self.conditions.items()))

    @property
    def median(self) -> float:
        """The middle of the samples."""
        return median(self.samples)

    @property
    def p95(self) -> float:
        """The value that 95 % of the samples do not exceed."""
        return percentile(self.samples, 0.95)

    def as_json(self) -> dict[str, Any]:
        """Give the figure as it stands in a report."""
        return {
            "section": self.section,
            "name": self.name,
            "subject": self.subject,
            "conditions": dict(self.conditions),
            "unit": self.unit,
            "better": self.better,
            "median": self.median,
            "p95": self.p95,
            "samples": list(self.samples),
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Figure:
        """Read a figure of a report. Raises ``KeyError`` for an incomplete one."""
        return cls(
            section=entry["section"],
            name=entry["name"],
            subject=entry["subject"],
            conditions=entry["conditions"],
            unit=entry["unit"],
            better=entry["better"],
            samples=tuple(entry["samples"]),
        )
