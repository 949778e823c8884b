"""Draws a report as a picture of four panels. Needs matplotlib; knows only the report's document."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Document = Mapping[str, Any]
_LINES = (":", "--", "-.")


def plot(document: Document, path: Path) -> None:
    """Draw ``document`` to ``path``, a PNG. Raises ``ImportError`` if matplotlib is not installed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2)
    _latency(document, panels[0, 0])
    _concurrency(document, panels[0, 1])
    _arrivals(document, panels[1, 0])
    _stages(document, panels[1, 1])
    plan, machine = document["plan"], document["machine"]
    figure.suptitle(
        f"{machine.get('device', '')} · {plan['size']}×{plan['size']}, {plan['steps']} steps · "
        f"commit {machine.get('commit', '')[:12]}",
        fontsize=10,
    )
    figure.savefig(path, dpi=110)


def _of(document: Document, section: str, *names: str) -> list[Mapping[str, Any]]:
    return [entry for entry in document["figures"] if entry["section"] == section and entry["name"] in names]


def _latency(document: Document, axes: Axes) -> None:
    entries = _of(document, "latency", "a picture")
    axes.set_title("one picture alone, s")
    if not entries:
        return _empty(axes)
    for place, entry in enumerate(reversed(entries)):
        ours = entry["subject"].startswith("engine")
        axes.barh(place, entry["median"], color="tab:blue" if ours else "tab:gray")
        axes.plot(entry["samples"], [place] * len(entry["samples"]), "|", color="black")
    axes.set_yticks(range(len(entries)), [entry["subject"] for entry in reversed(entries)])
    for entry, line in zip(_of(document, "machine", "floor of a picture"), _LINES, strict=False):
        axes.axvline(entry["median"], color="tab:red", linestyle=line, label=f"floor in {entry['subject']}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    return None


def _concurrency(document: Document, axes: Axes) -> None:
    entries = _of(document, "concurrency", "pictures")
    axes.set_title("mixed requests, pictures a second")
    axes.set_xlabel("callers at once")
    for subject in dict.fromkeys(entry["subject"] for entry in entries):
        points = sorted(
            (entry["conditions"]["clients"], entry["median"]) for entry in entries if entry["subject"] == subject
        )
        axes.plot(*zip(*points, strict=True), marker="o", label=subject)
    for entry in _of(document, "load", "pictures"):
        if not entry["subject"].startswith("engine"):
            axes.plot(entry["conditions"]["clients"], entry["median"], "s", label=entry["subject"])
    if not axes.lines:
        return _empty(axes)
    for entry, line in zip(_of(document, "machine", "ceiling of the load"), _LINES, strict=False):
        axes.axhline(entry["median"], color="tab:red", linestyle=line, label=f"ceiling in {entry['subject']}")
    axes.set_xscale("log", base=2)
    clients = sorted({entry["conditions"]["clients"] for entry in entries})
    axes.set_xticks(clients, [str(number) for number in clients])
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    return None


def _arrivals(document: Document, axes: Axes) -> None:
    axes.set_title("latency under random arrivals, s")
    axes.set_xlabel("arrivals a second")
    for part in ("p50", "p95", "p99"):
        found = _of(document, "arrivals", f"latency {part}")
        entries = [entry for entry in found if entry["subject"].startswith("engine")]
        points = sorted((entry["conditions"]["arrivals a second"], entry["median"]) for entry in entries)
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=part)
    if not axes.lines:
        return _empty(axes)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    return None


def _stages(document: Document, axes: Axes) -> None:
    entries = _of(document, "stages", "encode", "sample", "decode", "rest", "png")
    axes.set_title("where one picture's time goes, s")
    if not entries:
        return _empty(axes)
    axes.barh([entry["name"] for entry in reversed(entries)], [entry["median"] for entry in reversed(entries)])
    return None


def _empty(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes, color="tab:gray")
    axes.set_axis_off()
