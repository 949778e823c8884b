"""What a run found → a text that says what to do next, the largest gain first. Knows no tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

_OF_STEP = {"attention": "attention", "convolutions": "convolutions", "products": "matrix products"}
_MILLI = 1000


def advice(found: Mapping[str, Any]) -> str:
    """Return lines for a person: what a step takes and what it could, by kind and by operation."""
    lines = [f"{found['machine'].get('device')}, commit {found['machine'].get('commit')}"]
    parts = found["parts"]
    for render in (_steps, _picture, _profile, _operations, _stages, _programs):
        lines += render(parts)
    lines += [f"not run: {name}: {why}" for name, why in found["not_run"].items()]
    return "\n".join(lines) + "\n"


def _picture(parts: Mapping[str, Any]) -> Iterator[str]:
    picture = parts.get("picture")
    if picture and "gaps" in picture:
        spent = {name: f"{picture[name] * _MILLI:.1f} ms" for name in ("seconds", "span", "idle")}
        yield f"\none picture alone: {spent['seconds']}; on the device {spent['span']}, {spent['idle']} of them idle"
        for gap in picture["gaps"][:12]:
            yield f"  {gap['microseconds']:.0f} µs before {gap['before']}, after {gap['after']}"


def _steps(parts: Mapping[str, Any]) -> Iterator[str]:
    steps = parts.get("steps")
    if not steps:
        return
    yield "\nUNet calls, ms a row pair"
    for rows, each in steps["by_rows"].items():
        seconds = {name: value * _MILLI / (int(rows) / 2) for name, value in each["seconds"].items()}
        pieces = ", ".join(f"{size}: {count}" for size, count in sorted(each["pieces"].items()))
        yield (
            f"  {rows:>3} rows: " + ", ".join(f"{name} {value:.3f}" for name, value in seconds.items()) + f"; {pieces}"
        )
        for operation, size in each["cut"].items():
            yield f"           {size} rows at a time: {operation}"
    for rows, each in steps["variants"].items():
        yield (
            f"  {rows:>3} rows: " + ", ".join(f"{n} {s * _MILLI:.3f}" for n, s in each["seconds"].items()) + _why(each)
        )


def _profile(parts: Mapping[str, Any]) -> Iterator[str]:
    for name, each in (parts.get("profile") or {}).items():
        spent: Counter[str] = Counter()
        launches: Counter[str] = Counter()
        for kernel in each["kernels"]:
            spent[kernel["kind"]] += kernel["seconds"]
            launches[kernel["kind"]] += kernel["launches"]
        yield f"\n{name} by kernel: {sum(spent.values()) * _MILLI:.3f} ms in {sum(launches.values()):.0f} launches"
        for kind, seconds in spent.most_common():
            floor = each["floors"].get(kind)
            share = f", {floor / seconds:.0%} of the card's best" if floor else ""
            yield f"  {kind}: {seconds * _MILLI:.3f} ms, {launches[kind]:.0f} launches{share}"


def _operations(parts: Mapping[str, Any]) -> Iterator[str]:
    """The gain of each kind of operation, where each shape is given its fastest variant."""
    for part, title in _OF_STEP.items():
        for network, rows in (parts.get(part) or {}).items():
            gains = []
            for row in rows:
                now, best = row["seconds"].get("now"), min(row["seconds"], key=row["seconds"].__getitem__, default=None)
                if now is not None and best is not None:
                    gains.append((row["count"] * (now - row["seconds"][best]), row["count"] * now, best, row))
            yield (
                f"\n{title} of a {network}: {sum(now for _, now, *_ in gains) * _MILLI:.3f} ms now, "
                f"{sum(gain for gain, *_ in gains) * _MILLI:.3f} ms less with the fastest for each shape"
            )
            for gain, now, best, row in sorted(gains, key=lambda entry: -entry[0]):
                rate = row["operations"] / row["seconds"]["now"] / 1e12
                yield (
                    f"  {gain * _MILLI:7.3f} of {now * _MILLI:.3f} ms: {row['operation']} × {row['count']}, "
                    f"{rate:.0f} TFLOP/s now, {row['operations'] / row['seconds'][best] / 1e12:.0f} by {best}"
                )


def _stages(parts: Mapping[str, Any]) -> Iterator[str]:
    stages = parts.get("stages")
    if stages:
        yield "\nbeside the steps, ms: " + ", ".join(f"{n} {s * _MILLI:.3f}" for n, s in stages["seconds"].items())


def _programs(parts: Mapping[str, Any]) -> Iterator[str]:
    for name in ("tests", "suite"):
        if name in parts:
            yield f"\n{name}: exit status {parts[name]['status']}\n" + parts[name]["said"][-1500:]


def _why(each: Mapping[str, Any]) -> str:
    return "".join(f"; {name} failed: {why}" for name, why in each["failed"].items())
