"""One picture at a time: engine and peers in turns, the same request for each in a round."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import torch

from benchmarks.bench import Bench, SkipSection
from benchmarks.drive import Timed, paint_timed
from benchmarks.floor import floor_seconds
from benchmarks.peers.comfyui import ComfyuiSubject
from benchmarks.pictures import psnr
from benchmarks.samples import paired
from benchmarks.subjects import EngineSubject
from benchmarks.worker import Worker, WorkerFailed
from benchmarks.workloads import alone

_PNG = " with PNG"


def run(bench: Bench, seconds: float) -> None:
    """Every subject alone, in groups that fit into the memory together."""
    heats = bench.heats()
    for number, heat in enumerate(heats):
        workers = bench.open(heat)
        _heat(bench, workers, seconds / len(heats), first=number == 0)
        if len(heats) > 1:  # make room for the next peer
            bench.crew.release(subject.name for subject in heat if not isinstance(subject, EngineSubject))


def _heat(bench: Bench, workers: Sequence[Worker], seconds: float, first: bool) -> None:
    contests = [(worker.subject.name, worker, False) for worker in workers]
    if any(isinstance(worker.subject, ComfyuiSubject) for worker in workers):
        contests += [(name + _PNG, worker, True) for name, worker, _ in contests if _is_engine(worker)]
    round_seconds = sum(bench.crew.alone[worker.subject.name] for _, worker, _ in contests)
    least, most = bench.plan.rounds
    if not contests:
        raise SkipSection("no subject could be opened")
    bench.ask_time(round_seconds * least)
    seen: dict[str, list[Timed]] = {name: [] for name, _, _ in contests}
    begin = time.monotonic()
    for number in range(most):
        spent = time.monotonic() - begin
        if number >= least and spent + round_seconds > seconds:
            break
        turn = number % len(contests)
        for name, worker, png in contests[turn:] + contests[:turn]:  # nobody always follows the same one
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


def _report(bench: Bench, workers: Sequence[Worker], seen: dict[str, list[Timed]], engines_too: bool) -> None:
    names = {worker.subject.name: worker for worker in workers}
    engines = [name for name in names if _is_engine(names[name])]
    spent = {name: [one.seconds for one in timed] for name, timed in seen.items()}
    for name, timed in seen.items():
        if name in engines and not engines_too:
            continue
        bench.figure("latency", "a picture", name, spent[name], "s", "lower")
        rates = [bench.plan.scale.steps / seconds for seconds in spent[name]]
        bench.figure("latency", "steps a second, all included", name, rates, "steps/s", "higher")
        if name in names:
            bench.report.subjects[name]["record"] = dict(timed[-1].picture.record)
    for engine in engines:
        if engines_too:
            _shares(bench, engine, names[engine].subject.dtype, spent[engine])
        for peer in [name for name in names if name not in engines]:
            with_png = isinstance(names[peer].subject, ComfyuiSubject)
            ours = engine + _PNG if with_png else engine
            quotients = paired(spent[ours], spent[peer])
            bench.figure("latency", "times as fast", ours, quotients, "×", "higher", beside=peer)
            if names[peer].subject.dtype == names[engine].subject.dtype:
                pairs = zip(seen[engine], seen[peer], strict=True)
                alike = [psnr(one.picture.pixels, other.picture.pixels) for one, other in pairs]
                bench.figure("latency", "likeness", engine, alike, "dB", beside=peer)


def _shares(bench: Bench, engine: str, dtype: str, spent: Sequence[float]) -> None:
    """What share of the machine's best the engine reaches."""
    ceilings = bench.ceilings.get(dtype)
    if ceilings is None:
        return
    steps = bench.plan.scale.steps
    floor = floor_seconds(bench.work, ceilings, steps, getattr(torch, dtype).itemsize)
    bench.figure("latency", "share of the floor", engine, [floor / seconds for seconds in spent], "of 1", "higher")
    peak = bench.work.picture(steps) / ceilings.matmul
    bench.figure("latency", "share of the matmul peak", engine, [peak / seconds for seconds in spent], "of 1", "higher")
