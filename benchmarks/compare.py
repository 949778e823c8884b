"""Prints what changed between two reports: ``python -m benchmarks.compare OLD.json NEW.json``.

Exit status: 0; 1 if something became worse; 2 if the reports cannot be compared.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reports.comparison import compare, figures_of, why_not
from benchmarks.reports.report import BadReport, read_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description="Print what changed between two reports beyond the noise."
    )
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    parser.add_argument("--least", type=float, default=0.05, help="smallest share that counts (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="also print what stayed the same")
    parser.add_argument("--anyway", action="store_true", help="compare runs of different machines, sizes or settings")
    options = parser.parse_args(arguments)
    try:
        old, new = read_report(options.old), read_report(options.new)
    except BadReport as error:
        print(error, file=sys.stderr)
        return 2
    reasons = why_not(old, new)
    if reasons and not options.anyway:
        print("these reports cannot be compared: " + "; ".join(reasons), file=sys.stderr)
        return 2
    return _print_changes(old, new, options.least, options.all)


def _print_changes(old: Mapping[str, Any], new: Mapping[str, Any], least: float, everything: bool) -> int:
    changes = compare(old, new, least)
    for change in changes:
        if everything or change.kind != "same":
            print(change)
    if any(change.kind == "other" and not change.new.subject.startswith("engine") for change in changes):
        print("The machine's or the peers' own figures changed too: trust the ratios to peers rather than the seconds.")
    counts = Counter(change.kind for change in changes)
    keys = [{figure.key for figure in figures_of(document)} for document in (old, new)]
    print(
        f"{counts['worse']} worse, {counts['better']} better, {counts['other']} changed otherwise, "
        f"{counts['same']} within the noise; {len(keys[0] - keys[1])} only in the old report, "
        f"{len(keys[1] - keys[0])} only in the new one"
    )
    return 1 if counts["worse"] else 0


if __name__ == "__main__":
    sys.exit(main())
