"""Measures one picture at a time: engine and peers by turns, with the same request in each round."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from benchmarks.measuring.callers import TimedPicture, paint_timed
from benchmarks.measuring.likeness import psnr
from benchmarks.measuring.samples import paired
from benchmarks.measuring.workloads import alone
from benchmarks.subjects.engine import EngineSubject
from benchmarks.subjects.peers.comfyui import ComfyuiSubject
from benchmarks.subjects.worker import Worker, WorkerFailed
from benchmarks.suite.workbench import SkipSection, Workbench

_PNG = " with PNG"


def run(bench: Workbench, seconds: float) -> None:
    """Measure every subject alone, in groups that fit into memory together."""
    groups = bench.groups()
    for number, group in enumerate(groups):
        workers = bench.open(group)
        _group(bench, workers, seconds / len(groups), first=number == 0)
        if len(groups) > 1:  # frees memory for the next peer
            bench.crew.release(subject.name for subject in group if not isinstance(subject, EngineSubject))


def _group(bench: Workbench, workers: Sequence[Worker], seconds: float, first: bool) -> None:
    contests = [(worker.subject.name, worker, False) for worker in workers]
    if any(isinstance(worker.subject, ComfyuiSubject) for worker in workers):
        contests += [(name + _PNG, worker, True) for name, worker, _ in contests if _is_engine(worker)]
    round_seconds = sum(bench.crew.alone[worker.subject.name] for _, worker, _ in contests)
    least, most = bench.plan.rounds
    if not contests:
        raise SkipSection("no subject could be opened")
    bench.ask_time(round_seconds * least)
    seen: dict[str, list[TimedPicture]] = {name: [] for name, _, _ in contests}
    begin = time.monotonic()
    for number in range(most):
        spent = time.monotonic() - begin
        if number >= least and spent + round_seconds > seconds:
            break
        turn = number % len(contests)
        for name, worker, png in contests[turn:] + contests[:turn]:  # so that none always follows the same one
            job = partial(paint_timed, request=alone(bench.plan.scale, number), png=png)
            try:
                seen[name].append(bench.call(worker, job, bench.crew.alone[worker.subject.name]))
            except WorkerFailed as reason:
                bench.report.skip(f"latency: {name}", str(reason))
                contests = [contest for contest in contests if contest[1] is not worker]
    going = {name: seen[name] for name, _, _ in contests}
    _report(bench, [worker for worker in workers if worker.subject.name in going], going, first)


def _is_engine(worker: Worker) -> bool:
    return isinstance(worker.subject, EngineSubject)


def _report(
    bench: Workbench, workers: Sequence[Worker], seen: dict[str, list[TimedPicture]], engines_too: bool
) -> None:
    names = {worker.subject.name: worker for worker in workers}
    engines = [name for name in names if _is_engine(names[name])]
    for name, timed in seen.items():
        if name not in engines or engines_too:
            _own(bench, name, timed)
        if name in names:
            bench.report.subjects[name]["record"] = dict(timed[-1].delivery.record)
    for engine in engines:
        if engines_too:
            _shares(bench, engine, names[engine].subject.dtype, [one.seconds for one in seen[engine]])
        for peer in [name for name in names if name not in engines]:
            with_png = isinstance(names[peer].subject, ComfyuiSubject)
            _beside(bench, engine + _PNG if with_png else engine, peer, seen)
            if names[peer].subject.dtype == names[engine].subject.dtype:
                pairs = zip(seen[engine], seen[peer], strict=True)
                alike = [psnr(one.delivery.pixels, other.delivery.pixels) for one, other in pairs]
                bench.figure("latency", "likeness", engine, alike, "dB", beside=peer)


def _own(bench: Workbench, name: str, timed: Sequence[TimedPicture]) -> None:
    """Report how long a subject's pictures took."""
    spent = [one.seconds for one in timed]
    bench.figure("latency", "a picture", name, spent, "s", "lower")
    rates = [bench.plan.scale.steps / seconds for seconds in spent]
    bench.figure("latency", "steps a second, all included", name, rates, "steps/s", "higher")
    bench.figure("latency", "a step", name, step_seconds(timed, bench.plan.scale.steps), "s", "lower")
    if bench.device.type == "cpu":  # other work on the machine hardly changes this
        processor = [one.processor_seconds for one in timed]
        bench.figure("latency", "processor time of a picture", name, processor, "s", "lower")


def _beside(bench: Workbench, engine: str, peer: str, seen: dict[str, list[TimedPicture]]) -> None:
    """Report how many times as long the peer took in the same rounds."""
    ours, theirs = seen[engine], seen[peer]
    quotients = paired([one.seconds for one in ours], [one.seconds for one in theirs])
    bench.figure("latency", "times as fast", engine, quotients, "×", "higher", beside=peer)
    steps = bench.plan.scale.steps
    if theirs_steps := step_seconds(theirs, steps):
        quotients = paired(step_seconds(ours, steps), theirs_steps)
        bench.figure("latency", "times as fast in a step", engine, quotients, "×", "higher", beside=peer)
    if bench.device.type == "cpu":
        quotients = paired([one.processor_seconds for one in ours], [one.processor_seconds for one in theirs])
        bench.figure("latency", "times as fast by processor time", engine, quotients, "×", "higher", beside=peer)


def step_seconds(timed: Sequence[TimedPicture], steps: int) -> list[float]:
    """Give the mean seconds of a step of each picture; empty if the subject does not report its sampling."""
    spent = [one.delivery.sampling for one in timed]
    return [seconds / steps for seconds in spent if seconds is not None]


def _shares(bench: Workbench, engine: str, dtype: str, spent: Sequence[float]) -> None:
    """Report which share of the machine's best rates the engine reaches, if those were measured."""
    find = bench.report.find
    floor = find("machine", "floor of a picture", dtype)
    work, peak = find("machine", "work: picture", "any"), find("machine", "matrix product", dtype)
    if floor is not None:
        shares = [floor.median / seconds for seconds in spent]
        bench.figure("latency", "share of the floor", engine, shares, "of 1", "higher")
    if work is not None and peak is not None:
        shares = [work.median / peak.median / seconds for seconds in spent]
        bench.figure("latency", "share of the matmul peak", engine, shares, "of 1", "higher")
