"""What came of a load: percentiles, errors by kind, memory, and what is wrong; for people and as JSON."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.load_audit import Row
from benchmarks.load_plan import DIALECTS
from benchmarks.load_visits import Visit
from benchmarks.measuring.samples import percentile

_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_WARM = 0.25
"""The share of the calls after which memory should be flat."""
_SHOWN = 10

Report = dict[str, Any]


def report(visits: Sequence[Visit], rows: Iterable[Row], wrong: Sequence[str]) -> Report:
    """The figures; times in seconds."""
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
    """How many there are, and their percentiles."""
    return {"count": len(samples)} | {name: percentile(samples, share) for name, share in _SHARES.items() if samples}


def memory(samples: Sequence[tuple[int, int]], calls: int) -> dict[str, float]:
    """MiB at the start, after the first quarter of the calls, at the most and in the end; and how fast it grew after
    that quarter, by least squares."""
    if not samples:
        return {}
    warm = [(done, size / 2**20) for done, size in samples if done >= _WARM * calls]
    told = {"start": samples[0][1] / 2**20, "peak": max(size for _, size in samples) / 2**20}
    if len({done for done, _ in warm}) > 1:
        slope = statistics.linear_regression([done for done, _ in warm], [size for _, size in warm]).slope
        told |= {"warm": warm[0][1], "end": warm[-1][1], "per_1000_calls": 1000 * slope}
    return told


def text(told: Report) -> str:
    """The report for people."""
    lines = [
        f"{told['calls']} calls in {told['seconds']:.1f} s: {told['arrived_per_second']:.1f}/s arrived, "
        f"{told['succeeded_per_second']:.1f}/s succeeded; "
        + ", ".join(f"{count} {end}" for end, count in told["ends"].items()),
        f"{'milliseconds':16}{'calls':>7}" + "".join(f"{name:>10}" for name in _SHARES),
        *(_line(name, spread) for name, spread in told["latency_by_dialect"].items()),
        _line("all", told["latency"]),
        _line("in the server", told["in_the_server"]),
        _line("begun late", told["generator_late"]),
        _line("an empty call", told["empty_call"]),
    ]
    if "cpu_ms_per_call" in told:
        lines.append(
            f"CPU time of the server: {told['cpu_ms_per_call']:.2f} ms a call, {told['cpu_busy']:.0%} of a core"
        )
    lines.append(f"CPU time of the generator: {told['generator_busy']:.0%} of a core")
    if told.get("disk_ms"):
        lines.append("disk, ms: " + ", ".join(f"{name} {each:.1f}" for name, each in told["disk_ms"].items()))
    if told.get("memory_mib"):
        lines.append("memory, MiB: " + ", ".join(f"{name} {size:.1f}" for name, size in told["memory_mib"].items()))
    lines += [f"{count} × {reason}" for reason, count in list(told["errors"].items())[:_SHOWN]]
    lines += [f"server: {line}" for line in told.get("server_log", ())[:_SHOWN]]
    lines += [f"WRONG: {each}" for each in told["wrong"][:_SHOWN]]
    lines.append(f"{len(told['wrong'])} wrong" if told["wrong"] else "nothing lost, nothing done twice")
    return "\n".join(lines)


def _line(name: str, spread: dict[str, float]) -> str:
    values = "".join(f"{1000 * spread[each]:10.1f}" for each in _SHARES if each in spread)
    return f"{name:16}{spread['count']:7}{values}"
