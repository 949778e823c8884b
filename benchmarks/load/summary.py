"""Sums a load up: percentiles, errors by kind, memory, and what is wrong; as JSON and as text for people."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.load.audit import Row
from benchmarks.load.calls import DIALECTS
from benchmarks.load.visits import Visit
from benchmarks.measuring.samples import percentile

_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_WARM = 0.25
"""The share of the calls after which memory should be flat."""
_SHOWN = 10

Summary = dict[str, Any]


def summarize(visits: Sequence[Visit], rows: Iterable[Row], wrong: Sequence[str]) -> Summary:
    """Give the figures of a load. Times are in seconds and include only callers who waited for their pictures."""
    served = [visit for visit in visits if visit.end == "succeeded"]
    patient = [visit for visit in served if visit.call.manner == "stay"]
    seconds = max((visit.left for visit in visits), default=0.0)
    seeds = {visit.call.request.seed for visit in patient}
    own = [row.finished - row.created for row in rows if row.finished is not None and row.seed in seeds]
    arriving = max((visit.call.due for visit in visits), default=0.0)
    return {
        "calls": len(visits),
        "seconds": seconds,
        "arrived_per_second": len(visits) / arriving if arriving else 0.0,
        "succeeded_per_second": len(served) / seconds if seconds else 0.0,
        "ends": dict(Counter(visit.end for visit in visits)),
        "latency": spread([visit.seconds for visit in patient]),
        "latency_by_dialect": {
            dialect: spread([visit.seconds for visit in patient if visit.call.dialect == dialect])
            for dialect in DIALECTS
            if any(visit.call.dialect == dialect for visit in patient)
        },
        "in_the_server": spread(own),
        "generator_late": spread([visit.late for visit in visits]),
        "errors": dict(Counter(visit.reason for visit in visits if visit.reason is not None).most_common()),
        "wrong": list(wrong),
    }


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Give the number of samples and their percentiles."""
    return {"count": len(samples)} | {name: percentile(samples, share) for name, share in _SHARES.items() if samples}


def memory(samples: Sequence[tuple[int, int]], calls: int) -> dict[str, float]:
    """Give the MiB at the start, after the first quarter of the calls, at the peak and at the end.

    ``samples`` are pairs of calls done and bytes resident. Also gives how fast memory grew after that quarter, in MiB
    per 1000 calls by least squares.
    """
    if not samples:
        return {}
    warm = [(done, size / 2**20) for done, size in samples if done >= _WARM * calls]
    found = {"start": samples[0][1] / 2**20, "peak": max(size for _, size in samples) / 2**20}
    if len({done for done, _ in warm}) > 1:
        slope = statistics.linear_regression([done for done, _ in warm], [size for _, size in warm]).slope
        found |= {"warm": warm[0][1], "end": warm[-1][1], "per_1000_calls": 1000 * slope}
    return found


def text(summary: Summary) -> str:
    """Write the summary for people."""
    lines = [
        f"{summary['calls']} calls in {summary['seconds']:.1f} s: {summary['arrived_per_second']:.1f}/s arrived, "
        f"{summary['succeeded_per_second']:.1f}/s succeeded; "
        + ", ".join(f"{count} {end}" for end, count in summary["ends"].items()),
        f"{'milliseconds':16}{'calls':>7}" + "".join(f"{name:>10}" for name in _SHARES),
        *(_line(name, spread) for name, spread in summary["latency_by_dialect"].items()),
        _line("all", summary["latency"]),
        _line("in the server", summary["in_the_server"]),
        _line("started late", summary["generator_late"]),
        _line("an empty call", summary["empty_call"]),
    ]
    if "cpu_ms_per_call" in summary:
        lines.append(
            f"CPU time of the server: {summary['cpu_ms_per_call']:.2f} ms a call, {summary['cpu_busy']:.0%} of a core"
        )
    lines.append(f"CPU time of the generator: {summary['generator_busy']:.0%} of a core")
    if summary.get("disk_ms"):
        lines.append("disk, ms: " + ", ".join(f"{name} {each:.1f}" for name, each in summary["disk_ms"].items()))
    if summary.get("memory_mib"):
        lines.append("memory, MiB: " + ", ".join(f"{name} {size:.1f}" for name, size in summary["memory_mib"].items()))
    lines += [f"{count} × {reason}" for reason, count in list(summary["errors"].items())[:_SHOWN]]
    lines += [f"server: {line}" for line in summary.get("server_log", ())[:_SHOWN]]
    lines += [f"WRONG: {each}" for each in summary["wrong"][:_SHOWN]]
    lines.append(f"{len(summary['wrong'])} wrong" if summary["wrong"] else "nothing lost, nothing done twice")
    return "\n".join(lines)


def _line(name: str, spread: dict[str, float]) -> str:
    values = "".join(f"{1000 * spread[each]:10.1f}" for each in _SHARES if each in spread)
    return f"{name:16}{spread['count']:7}{values}"
