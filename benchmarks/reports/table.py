"""Shows a report as a table in plain text. Knows only the report's document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = ("section", "figure", "of", "with", "median", "p95", "spread", "n", "")
_RIGHT = {4, 5, 6, 7}


def table(document: Mapping[str, Any]) -> str:
    """Write the figures of a report, then verdicts, what was not run, notes, and what each subject includes."""
    rows = [_HEAD, *(_row(figure) for figure in document["figures"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "─" * len(lines[0]))
    parts = [_title(document), "\n".join(lines)]
    for name, entries in (
        ("Targets", [f"{entry['outcome']}: {entry['target']}: {entry['said']}" for entry in document["verdicts"]]),
        ("Not run", [f"{entry['what']}: {entry['reason']}" for entry in document["not_run"]]),
        ("Notes", document["notes"]),
        ("What each includes", [f"{name}: {facts['includes']}" for name, facts in document["subjects"].items()]),
    ):
        if entries:
            parts.append("\n".join([name, *(f"  {entry}" for entry in entries)]))
    return "\n\n".join(parts)


def _title(document: Mapping[str, Any]) -> str:
    plan, machine = document["plan"], document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    return (
        f"{machine.get('device', '?')}, driver {machine.get('driver', 'none')}, {versions}\n"
        f"commit {machine.get('commit', '?')}, {document['checkpoint'].get('what', '?')}\n"
        f"{plan['size']}×{plan['size']}, {plan['steps']} steps (mix: {plan['mixed_steps'][0]} to "
        f"{plan['mixed_steps'][1]}), {document['seconds']:.0f} s of {60 * plan['minutes']:.0f} s"
    )


def _row(figure: Mapping[str, Any]) -> tuple[str, ...]:
    samples = figure["samples"]
    conditions = ", ".join(f"{name} {value}" for name, value in figure["conditions"].items())
    several = len(samples) > 1
    return (
        figure["section"],
        figure["name"],
        figure["subject"],
        conditions,
        _number(figure["median"]),
        _number(figure["p95"]) if several and figure["better"] != "higher" else "",
        f"{_number(min(samples))}…{_number(max(samples))}" if several else "",
        str(len(samples)),
        figure["unit"],
    )


def _number(value: float | None) -> str:
    """Three significant digits; numbers from 1000 on in full."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(width) if column in _RIGHT else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
