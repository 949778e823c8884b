"""Finds what changed between two reports beyond the noise.

Two figures differ where the bounds of their quotient (99 %, from all their samples) exclude 1 and where the quotient is
more than a few per cent from 1, because two runs differ by more than the samples within one of them. Where a figure has
too few samples for bounds, only a large change counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.measuring.samples import Factor, factor
from benchmarks.reports.figures import Figure

_SAME = (
    ("machine", "device"),
    *(("plan", name) for name in ("size", "steps", "quick", "settings")),
    ("checkpoint", "bytes"),
)
"""What must be equal in two reports before they can be compared."""

Kind = Literal["worse", "better", "other", "same"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure in the old report and in the new one."""

    old: Figure
    new: Figure
    times: Factor
    kind: Kind

    def __str__(self) -> str:
        conditions = ", ".join(f"{name} {value}" for name, value in self.new.conditions.items())
        name = f"{self.new.section}: {self.new.name}, {self.new.subject}" + (f" ({conditions})" if conditions else "")
        bounds = f" ({self.times.low:.3g}…{self.times.high:.3g})" if self.times.bounded else " (few samples)"
        values = f"{self.old.median:.4g} → {self.new.median:.4g} {self.new.unit}"
        return f"{self.kind}: {name}: {values}, × {self.times.middle:.3g}{bounds}"


def compare(
    old: Mapping[str, Any], new: Mapping[str, Any], least: float = 0.05, without_bounds: float = 0.25
) -> list[Change]:
    """Compare every figure that both documents have, in the order of the new one.

    ``least`` is the share that a change must exceed to count; ``without_bounds`` is that share where a side has fewer
    than five samples. Only the engine's figures can become worse or better: a change in the machine's or a peer's own
    figures is ``other``.
    """
    before = {figure.key: figure for figure in figures_of(old)}
    changes = []
    for figure in figures_of(new):
        known = before.get(figure.key)
        if known is not None and all(value > 0 for value in (*known.samples, *figure.samples)):
            times = factor(known.samples, figure.samples)
            better = figure.better if figure.subject.startswith("engine") else "neither"
            kind = _kind(times, better, least if times.bounded else without_bounds)
            changes.append(Change(old=known, new=figure, times=times, kind=kind))
    return changes


def figures_of(document: Mapping[str, Any]) -> Iterator[Figure]:
    """Give the figures of a report's document, in its order."""
    return map(Figure.from_json, document["figures"])


def _kind(times: Factor, better: str, least: float) -> Kind:
    less = times.high < 1 if times.bounded else True
    more = times.low > 1 if times.bounded else True
    if more and times.middle > 1 + least:
        larger = True
    elif less and times.middle < 1 / (1 + least):
        larger = False
    else:
        return "same"
    if better == "neither":
        return "other"
    return "better" if larger == (better == "higher") else "worse"


def why_not(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Give the reasons why two reports cannot be compared: each names what differs in machine, plan or checkpoint."""
    return [
        f"{part} {name}: {old[part].get(name)} in the old report, {new[part].get(name)} in the new one"
        for part, name in _SAME
        if old[part].get(name) != new[part].get(name)
    ]
