"""A report again as a table and a plot: ``python -m benchmarks.show REPORT.json``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.plot import plot
from benchmarks.report import BadReport, read_report
from benchmarks.table import table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("report", type=Path)
    path: Path = parser.parse_args().report
    try:
        document = read_report(path)
    except BadReport as error:
        print(error, file=sys.stderr)
        return 2
    print(table(document))
    plot(document, path.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
