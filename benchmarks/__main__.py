"""The command ``python -m benchmarks``: measures the engine beside its peers.

Exit status: 0; 1 if this is the card that ``--target`` names and it misses the target; 2 for a mistake of the caller's.
"""

from __future__ import annotations

import datetime
import re
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

from benchmarks.subjects.processes import preload
from benchmarks.suite.options import RESULTS, parser, plan_of
from engine.errors import EngineError

if TYPE_CHECKING:
    from benchmarks.suite.plan import Plan

_MISTAKE, _STOPPED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = parser().parse_args(arguments)
    if options.quick:
        preload()
    from benchmarks.reports.table import table
    from benchmarks.suite.suite import run

    signal.signal(signal.SIGTERM, _stopped)  # a time limit from outside ends the workers too
    try:
        plan = plan_of(options)
    except (EngineError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return _MISTAKE
    path = options.out or RESULTS / f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{_slug(plan)}.json"
    try:
        report = run(plan, path, options.commit, tell=lambda text: print(text, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        print(f"stopped; what was measured is in {path}", file=sys.stderr)
        return _STOPPED
    print(table(report.as_json()))
    print(f"\n{path}\n{path.with_suffix('.png')}")
    missed = plan.target is not None and report.verdicts[0].outcome == "missed"
    return 1 if missed else 0


def _slug(plan: Plan) -> str:
    import torch

    name = torch.cuda.get_device_name() if plan.device == "cuda" else "cpu"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _stopped(_: int, __: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
