"""One measured quantity, with every value that was seen. Knows nothing of how it was measured or is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.measuring.samples import median, percentile

Better = Literal["lower", "higher", "neither"]
Condition = str | int | float


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What was measured, of whom, under which conditions, in which unit."""

    section: str
    name: str
    subject: str
    """Whose figure it is: ``engine``, ``stock diffusers``, …, or ``machine``."""
    unit: str
    """``s``, ``images/s``, ``GiB``, ``dB``, ``×``, …; shares are plain numbers with the unit ``of 1``."""
    samples: tuple[float, ...]
    better: Better = "neither"
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    """What else tells this figure from others of its name: number of clients, arrival rate, rows."""

    @property
    def key(self) -> tuple[object, ...]:
        """Figures of equal key in two reports measure the same thing."""
        return (self.section, self.name, self.subject, *sorted(self.conditions.items()))

    @property
    def median(self) -> float:
        return median(self.samples)

    @property
    def p95(self) -> float:
        return percentile(self.samples, 0.95)

    def as_json(self) -> dict[str, Any]:
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
        return cls(
            section=entry["section"],
            name=entry["name"],
            subject=entry["subject"],
            conditions=entry["conditions"],
            unit=entry["unit"],
            better=entry["better"],
            samples=tuple(entry["samples"]),
        )
