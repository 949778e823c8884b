"""Measures LoRAs, pictures to start from, masks, ControlNets and second passes beside diffusers' own pipelines.

Engine and peer have the same files and as many steps, and take turns feature by feature. A LoRA's first use starts
from its file; before a measured picture with a resident one, another picture is made with it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from benchmarks.measuring.callers import TimedPicture, paint_timed
from benchmarks.measuring.features import Feature, request_for
from benchmarks.measuring.likeness import psnr
from benchmarks.measuring.samples import paired
from benchmarks.subjects.engine import EngineSubject
from benchmarks.subjects.peers.diffusers_features import DiffusersFeaturesSubject
from benchmarks.subjects.subject import Subject
from benchmarks.subjects.synthetic_parts import Parts, synthetic_parts
from benchmarks.subjects.worker import Worker
from benchmarks.suite.workbench import Workbench

FEATURES: tuple[Feature, ...] = get_args(Feature)
_SAME_PICTURE: tuple[Feature, ...] = ("LoRA's first use", "LoRA resident", "ControlNet", "hires")
"""The features whose pictures the peer makes from the same noise."""

_LONGEST = 4.0
"""The longest picture of a feature over a plain one, about."""

Pictures = dict[Feature, list[TimedPicture]]


def run(bench: Workbench, seconds: float) -> None:
    """Measure every feature in each precision of the plan, one precision after the other for the sake of memory."""
    plan = bench.plan
    parts = synthetic_parts(plan.checkpoint, plan.scale.size)
    others = [*bench.engines(), *(bench.peers if "latency" in plan.sections else [])]
    bench.crew.release(subject.name for subject in others)
    for number, dtype in enumerate(plan.dtypes):
        share = bench.budget.share("features") / (len(plan.dtypes) - number)
        subjects = _subjects(bench, dtype, parts)
        workers = bench.open(subjects)
        if workers:
            _in_turns(bench, workers, parts, share)
        bench.crew.release(subject.name for subject in subjects)


def _subjects(bench: Workbench, dtype: str, parts: Parts) -> list[Subject]:
    """Describe the engine and, if the plan has it and it can run here, its peer."""
    plan, engine = bench.plan, bench.engine(dtype)
    settings = dict(engine.settings) | {"models_folders": [str(parts.folder)]}
    ours = replace(engine, name=f"engine {dtype} with files", settings=settings, inputs=parts.folder)
    peer = DiffusersFeaturesSubject(
        name=f"diffusers {dtype} with files",
        checkpoint=plan.checkpoint,
        device=plan.device,
        dtype=dtype,
        folder=parts.folder,
    )
    if "stock" not in plan.peers:
        return [ours]
    if (reason := peer.absent()) is not None:
        bench.report.skip(f"features: {peer.name}", reason)
        return [ours]
    return [ours, peer]


def _in_turns(bench: Workbench, workers: Sequence[Worker], parts: Parts, seconds: float) -> None:
    least, most = bench.plan.rounds
    seen: dict[str, Pictures] = {worker.subject.name: {feature: [] for feature in FEATURES} for worker in workers}
    for worker in workers:
        for feature in FEATURES:
            _paint(bench, worker, feature, -1, steps=1)
    begin, longest = time.monotonic(), 0.0
    for number in range(most):
        started = time.monotonic()
        if number >= least and started - begin + longest > seconds:
            break
        for place, feature in enumerate(FEATURES):
            turn = (number + place) % len(workers)
            for worker in [*workers[turn:], *workers[:turn]]:
                _prepare(bench, worker, feature, parts.lora)
                seen[worker.subject.name][feature].append(_paint(bench, worker, feature, number))
        longest = max(longest, time.monotonic() - started)
        if bench.budget.left() < longest:
            break
    _report(bench, workers, seen)


def _prepare(bench: Workbench, worker: Worker, feature: Feature, lora: Path) -> None:
    if feature == "LoRA's first use":
        bench.call(worker, partial(forget, lora=lora), 1)
    elif feature == "LoRA resident":
        _paint(bench, worker, feature, -1, steps=1)


def forget(subject: Subject, lora: Path) -> None:
    """Have the subject load ``lora`` again when it is next asked for. Runs in the subject's process."""
    assert isinstance(subject, EngineSubject | DiffusersFeaturesSubject)
    subject.forget(lora)


def _paint(bench: Workbench, worker: Worker, feature: Feature, number: int, steps: int | None = None) -> TimedPicture:
    request = request_for(feature, bench.plan.scale, number)
    job = partial(paint_timed, request=request if steps is None else replace(request, steps=steps))
    return bench.call(worker, job, _LONGEST * bench.crew.alone[worker.subject.name])


def _report(bench: Workbench, workers: Sequence[Worker], seen: dict[str, Pictures]) -> None:
    for worker in workers:
        name, pictures = worker.subject.name.removesuffix(" with files"), seen[worker.subject.name]
        for feature in FEATURES:
            spent = [one.seconds for one in pictures[feature]]
            bench.figure("features", "a picture", name, spent, "s", "lower", feature=feature)
            if bench.device.type == "cpu":
                processor = [one.processor_seconds for one in pictures[feature]]
                bench.figure("features", "processor time of a picture", name, processor, "s", "lower", feature=feature)
        first, resident = pictures["LoRA's first use"], pictures["LoRA resident"]
        extra = [one.seconds - other.seconds for one, other in zip(first, resident, strict=True)]
        bench.figure("features", "a LoRA's first use over a resident one", name, extra, "s", "lower")
    if len(workers) > 1:
        ours, peer = (worker.subject.name for worker in workers)
        for feature in FEATURES:
            _beside(bench, ours, peer, feature, seen)


def _beside(bench: Workbench, ours: str, peer: str, feature: Feature, seen: dict[str, Pictures]) -> None:
    """Report how many times as long the peer took in the same rounds, and how similar its pictures are."""
    engine, beside = (name.removesuffix(" with files") for name in (ours, peer))
    pairs = list(zip(seen[ours][feature], seen[peer][feature], strict=True))
    conditions: dict[str, Any] = {"feature": feature, "beside": beside}
    quotients = paired([one.seconds for one, _ in pairs], [other.seconds for _, other in pairs])
    bench.figure("features", "times as fast", engine, quotients, "×", "higher", **conditions)
    if bench.device.type == "cpu":  # other work on the machine hardly changes this
        spent = [(one.processor_seconds, other.processor_seconds) for one, other in pairs]
        quotients = [theirs / own for own, theirs in spent]
        bench.figure("features", "times as fast by processor time", engine, quotients, "×", "higher", **conditions)
    if feature in _SAME_PICTURE:
        alike = [psnr(one.delivery.pixels, other.delivery.pixels) for one, other in pairs]
        bench.figure("features", "likeness", engine, alike, "dB", **conditions)
