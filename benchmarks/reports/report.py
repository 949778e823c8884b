"""Keeps the report of a run: figures, what was not run and why, verdicts, notes.

Writes the whole file again after each addition, atomically, so that an interrupted run keeps what it had. Knows nothing
of tables and plots.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.reports.figures import Figure

SCHEMA = 1
_FIELDS = {
    "schema": int,
    "began": str,
    "seconds": float,
    "complete": bool,
    "plan": dict,
    "machine": dict,
    "checkpoint": dict,
    "subjects": dict,
    "figures": list,
    "not_run": list,
    "verdicts": list,
    "notes": list,
}

Outcome = Literal["met", "missed", "not judged"]


class BadReport(Exception):
    """A file is not a report of this suite; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A target and whether the figures reach it."""

    target: str
    outcome: Outcome
    said: str
    """The figures in words, or why the target cannot be judged."""


@dataclass(kw_only=True)
class Report:
    """What a run has found out, kept in the file ``path``."""

    path: Path
    plan: Mapping[str, Any]
    machine: dict[str, Any] = field(default_factory=dict)
    checkpoint: dict[str, Any] = field(default_factory=dict)
    subjects: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    not_run: list[dict[str, str]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    complete: bool = False
    began: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.timezone.utc))
    _start: float = field(default_factory=time.perf_counter)

    def add(self, *figures: Figure) -> None:
        """Add the figures that have samples."""
        self.figures += [figure for figure in figures if figure.samples]
        self.write()

    def skip(self, what: str, reason: str) -> None:
        """Record that ``what`` was not run, and why."""
        self.not_run.append({"what": what, "reason": reason})
        self.write()

    def note(self, text: str) -> None:
        """Add something that a reader of the figures must know."""
        if text not in self.notes:
            self.notes.append(text)
            self.write()

    def find(self, section: str, name: str, subject: str, **conditions: Any) -> Figure | None:
        """Return the latest figure of this name that has at least these conditions; None if there is none."""
        for figure in reversed(self.figures):
            same = (figure.section, figure.name, figure.subject) == (section, name, subject)
            if same and all(figure.conditions.get(key) == value for key, value in conditions.items()):
                return figure
        return None

    def of(self, section: str, name: str) -> list[Figure]:
        """Return every figure of this name, in the order of measuring."""
        return [figure for figure in self.figures if (figure.section, figure.name) == (section, name)]

    def as_json(self) -> dict[str, Any]:
        """Give the report's document."""
        return {
            "schema": SCHEMA,
            "began": self.began.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._start, 3),
            "complete": self.complete,
            "plan": dict(self.plan),
            "machine": self.machine,
            "checkpoint": self.checkpoint,
            "subjects": self.subjects,
            "figures": [figure.as_json() for figure in self.figures],
            "not_run": self.not_run,
            "verdicts": [vars(verdict) for verdict in self.verdicts],
            "notes": self.notes,
        }

    def write(self) -> None:
        """Write the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".partial")
        temporary.write_text(json.dumps(_finite(self.as_json()), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(temporary, self.path)


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by None, and round floats to six digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list | tuple) else value


def read_report(path: Path) -> dict[str, Any]:
    """Read the document in ``path``. Raises ``BadReport`` if it is not a report of this suite."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadReport(f"{path} cannot be read: {error}") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise BadReport(f"{path} is not a report of this suite with schema {SCHEMA}")
    for name, kind in _FIELDS.items():
        if not isinstance(document.get(name), kind):
            raise BadReport(f"{path}: {name} is missing or not a {kind.__name__}")
    try:
        figures = [Figure.from_json(entry) for entry in document["figures"]]
    except (KeyError, TypeError) as error:
        raise BadReport(f"{path}: a figure is incomplete: {error!r}") from None
    for figure in figures:
        if not figure.samples or not all(isinstance(value, int | float) for value in figure.samples):
            raise BadReport(f"{path}: the figure {figure.key} has samples that are not numbers")
    return document
