"""Judges a report's figures by the project's targets: met, missed, or not judged, and why.

Measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measuring.floor import Ceilings, Work, floor_seconds
from benchmarks.measuring.samples import median
from benchmarks.reports.figures import Figure
from benchmarks.reports.report import Outcome, Report, Verdict
from benchmarks.suite.plan import Plan

USERS_3090 = 2.5
"""Seconds an image on an RTX 3090 that users of this project started from."""
OUR_3090 = 0.65
"""Seconds an image on an RTX 3090 that this project wants to reach."""
CEILINGS_3090 = Ceilings(matmul=71e12, bandwidth=936e9)
"""The card's data sheet: float16 products with float32 sums, and memory."""

_FULL_WIDTH = 5e8  # parameters of the UNet; Stable Diffusion 1.5 has 860 million
_LARGE = ("H100", "H200")


def rtx3090(report: Report, plan: Plan, device: str, work: Work, floor: float | None) -> Verdict:
    """Judge ``--target rtx3090``; ``floor`` is this machine's own, in seconds an image, or None if unknown."""
    target = f"RTX 3090: {USERS_3090} s an image, and our own {OUR_3090} s"
    figure = report.find("latency", "a picture", f"engine {plan.dtype}")
    if figure is None:
        return Verdict(target=target, outcome="not judged", said="the latency was not measured")
    seconds = figure.median
    if "3090" in device:
        if not plan.full_size:
            return Verdict(target=target, outcome="not judged", said="the target is for 512×512 and 20 steps")
        reached = [f"{'pass' if seconds <= bar else 'fail'} against {bar} s" for bar in (USERS_3090, OUR_3090)]
        outcome: Outcome = "met" if seconds <= OUR_3090 else "missed"
        return Verdict(target=target, outcome=outcome, said=f"{seconds:.3f} s an image: {', '.join(reached)}")
    said = f"this is another card ({device})"
    if floor is not None:
        theirs = floor_seconds(work, CEILINGS_3090, plan.scale.steps, 2)
        said += (
            f"; the engine reaches {floor / seconds:.0%} of its floor ({seconds:.3g} s against {floor:.3g} s). The "
            f"same share would be {theirs * seconds / floor:.3g} s on an RTX 3090: a projection, not a measurement"
        )
    return Verdict(target=target, outcome="not judged", said=said)


def judge(report: Report, plan: Plan, device: str, work: Work) -> list[Verdict]:
    """Judge every target that applies to this machine, if the networks have Stable Diffusion 1.5's width."""
    if plan.quick or work.unet_parameters < _FULL_WIDTH:
        return []
    return list(_on_a_gpu(report, plan, device) if plan.device == "cuda" else _on_a_cpu(report))


def _on_a_cpu(report: Report) -> Iterator[Verdict]:
    for target, ours, peer, least in (
        ("bfloat16 twice as fast as stock diffusers in float32", "engine bfloat16", "stock diffusers float32", 2.0),
        ("level with stock diffusers in bfloat16", "engine bfloat16", "stock diffusers bfloat16", 1.0),
    ):
        yield _at_least(target, report.find("latency", "times as fast", ours, beside=peer), least)


def _on_a_gpu(report: Report, plan: Plan, device: str) -> Iterator[Verdict]:
    engine, dtype = f"engine {plan.dtype}", plan.dtype
    large = plan.full_size and any(name in device for name in _LARGE)
    if large:
        together = report.find("stages", "encode, sample and decode", engine)
        yield _at_most("0.13 s from request to decoded array", report.find("latency", "a picture", engine), 0.13)
        yield _at_most("the same, by the device's clock", together, 0.13)
        load = report.find("load", "pictures", engine, clients=plan.clients)
        yield _at_least(f"10 images/s with {plan.clients} callers", load, 10)
    for peer, least in (("stock diffusers", 3.0), ("best diffusers", 1.2)):
        figure = report.find("latency", "times as fast", engine, beside=f"{peer} {dtype}")
        yield _at_least(f"{least:g} times as fast as {peer}", figure, least)
    for figure in report.of("load", "times as many"):
        if figure.subject == engine:
            yield _at_least(f"twice as many under load as {figure.conditions['beside']}", figure, 2.0)
    idle = [figure for figure in report.of("idle", "without a kernel") if figure.subject == engine]
    yield _at_most("at most 5 % of the GPU's time idle under load", idle[0] if idle else None, 0.05)
    yield _exactness(report)
    likeness = report.find("precision", "likeness to float32", engine)
    yield _at_least("float16 at least 40 dB like float32", likeness, 40.0)
    yield _at_most("ready within 10 s", report.find("cold", "process start to ready", engine), 10.0)


def _exactness(report: Report) -> Verdict:
    """Judge that exact batching is at most 15 % behind fast, alone and under load, with one setting for both."""
    target = "exact batching at most 15 % behind fast, alone and under load"
    alone = {_rows(figure): figure.median for figure in report.of("variants", "a picture")}
    load = {_rows(figure): figure.median for figure in report.of("variants", "pictures")}
    both = alone.keys() & load.keys()
    fast = [key for key in both if key[0] == "fast"]
    exact = [key for key in both if key[0] == "exact"]
    if not fast or not exact:
        return Verdict(target=target, outcome="not judged", said="the two were not both measured")
    quickest, busiest = min(alone[key] for key in fast), max(load[key] for key in fast)
    behind = {key: max(alone[key] / quickest - 1, 1 - load[key] / busiest) for key in exact}
    key = min(behind, key=lambda one: behind[one])
    said = (
        f"with {key[1]} rows {alone[key]:.3g} s alone against {quickest:.3g} s, and "
        f"{load[key]:.3g} images/s against {busiest:.3g}"
    )
    return Verdict(target=target, outcome="met" if behind[key] <= 0.15 else "missed", said=said)


def _rows(figure: Figure) -> tuple[str, int]:
    """Return the way of batching and the most rows of a variant; ``("None", 0)`` for one of another kind."""
    return str(figure.conditions.get("batching")), int(figure.conditions.get("unet_rows", 0))


def _at_least(target: str, figure: Figure | None, bar: float) -> Verdict:
    return _judged(target, figure, bar, 1)


def _at_most(target: str, figure: Figure | None, bar: float) -> Verdict:
    return _judged(target, figure, bar, -1)


def _judged(target: str, figure: Figure | None, bar: float, sign: int) -> Verdict:
    if figure is None:
        return Verdict(target=target, outcome="not judged", said="it was not measured")
    reached = sign * (median(figure.samples) - bar) >= 0
    spread = f", {min(figure.samples):.3g} to {max(figure.samples):.3g}" if len(figure.samples) > 1 else ""
    said = f"{figure.median:.3g} {figure.unit}{spread}"
    return Verdict(target=target, outcome="met" if reached else "missed", said=said)
