"""What changed between two reports, beyond the noise: ``python benchmarks/compare.py OLD.json NEW.json``.

Two figures differ where the bounds of their quotient (99 %, from all their samples) leave out 1, and where it is more
than a few per cent as well, since two runs differ by more than the samples within one of them. Where a figure has too
few samples for bounds, only a large change counts.

Exit status: 0; 1 where something became worse; 2 where the reports cannot be compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

if not __package__:  # run as a file, whose folder must not hide the modules of others
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.figures import Figure
from benchmarks.measuring.samples import Factor, factor
from benchmarks.report import BadReport, read_report

_SAME = (
    ("machine", "device"),
    *(("plan", name) for name in ("size", "steps", "quick", "settings")),
    ("checkpoint", "bytes"),
)
"""What must be equal in two reports that are to be compared."""

Kind = Literal["worse", "better", "other", "same"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure, then and now."""

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
    """Every figure that both documents have, in the order of the new one. Only the engine's can become worse: where the
    machine's or a peer's change, something else than the engine has.

    ``least``: a change must be larger than this share to count; ``without_bounds``: the same where there are fewer
    than five samples on a side.
    """
    before = {figure.key: figure for figure in _figures(old)}
    changes = []
    for figure in _figures(new):
        known = before.get(figure.key)
        if known is not None and all(value > 0 for value in (*known.samples, *figure.samples)):
            times = factor(known.samples, figure.samples)
            better = figure.better if figure.subject.startswith("engine") else "neither"
            kind = _kind(times, better, least if times.bounded else without_bounds)
            changes.append(Change(old=known, new=figure, times=times, kind=kind))
    return changes


def _figures(document: Mapping[str, Any]) -> Iterator[Figure]:
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
    """Why two reports cannot be compared: what they were measured on, or how."""
    return [
        f"{part} {name}: {old[part].get(name)} then, {new[part].get(name)} now"
        for part, name in _SAME
        if old[part].get(name) != new[part].get(name)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    parser.add_argument("--least", type=float, default=0.05, help="smallest share that counts (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="show what stayed the same too")
    parser.add_argument("--anyway", action="store_true", help="compare runs of different machines, sizes or settings")
    options = parser.parse_args(arguments)
    try:
        old, new = read_report(options.old), read_report(options.new)
    except BadReport as error:
        print(error, file=sys.stderr)
        return 2
    reasons = why_not(old, new)
    if reasons and not options.anyway:
        print("these runs cannot be compared: " + "; ".join(reasons), file=sys.stderr)
        return 2
    return _tell(old, new, options.least, options.all)


def _tell(old: Mapping[str, Any], new: Mapping[str, Any], least: float, everything: bool) -> int:
    changes = compare(old, new, least)
    for change in changes:
        if everything or change.kind != "same":
            print(change)
    if any(change.kind == "other" and not change.new.subject.startswith("engine") for change in changes):
        print("The machine's or the peers' own figures changed too: times as fast as a peer tell more than seconds.")
    counts = {kind: sum(change.kind == kind for change in changes) for kind in ("worse", "better", "other", "same")}
    keys = [{figure.key for figure in _figures(document)} for document in (old, new)]
    print(
        f"{counts['worse']} worse, {counts['better']} better, {counts['other']} otherwise changed, "
        f"{counts['same']} within the noise; {len(keys[0] - keys[1])} only then, {len(keys[1] - keys[0])} only now"
    )
    return 1 if counts["worse"] else 0


if __name__ == "__main__":
    sys.exit(main())
