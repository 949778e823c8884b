"""Measures many callers at once with mixed requests: engine and peers by turns, with the same requests in each turn.

The engine takes part with its default settings and with fast batching. The section ``variants`` measures how large the
calls of exact batching may be.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

from benchmarks.measuring.callers import TimedRequest
from benchmarks.measuring.samples import paired
from benchmarks.measuring.throughput import Window, observe_window
from benchmarks.measuring.workloads import Mixed
from benchmarks.reports.figures import Condition
from benchmarks.subjects.engine import EngineSubject
from benchmarks.subjects.peers.comfyui import ComfyuiSubject
from benchmarks.subjects.subject import Subject
from benchmarks.subjects.worker import Worker, WorkerFailed, WorkerLost
from benchmarks.suite.plan import FAST
from benchmarks.suite.workbench import SkipSection, Workbench

_TOGETHER, _BY_TURNS = 3, 6  # a window lasts as long as this many pictures one after another
_LONGEST = 1.3  # the longest picture of the mix over the average one, about
_PART = 3  # warming up may take this part of the time that is left

Rates = Mapping[int, float]
"""Pictures a second, by turn."""


def run(bench: Workbench, seconds: float) -> None:
    """Measure pictures a second of every subject with ``plan.clients`` callers."""
    groups = _groups(bench)
    for number, group in enumerate(groups):
        workers = bench.open(group)
        if workers:
            share = bench.budget.share("load") / (len(groups) - number)  # what is left after opening
            found = in_turns(bench, "load", workers, share, bench.plan.turns, png=_writes_png(group))
            _report(bench, workers, found, first=number == 0)
        bench.crew.release(subject.name for subject in group if not isinstance(subject, EngineSubject))


def _groups(bench: Workbench) -> list[list[Subject]]:
    """Group subjects as ``Workbench.groups``, but give ComfyUI a group of its own.

    ComfyUI always writes a PNG, so the engine's callers encode PNGs in that group too.
    """
    found: list[list[Subject]] = []
    for group in bench.groups(*fast_engines(bench)):
        engines = [subject for subject in group if isinstance(subject, EngineSubject)]
        writers = [subject for subject in group if isinstance(subject, ComfyuiSubject)]
        others = [subject for subject in group if subject not in writers]
        if not found or len(others) > len(engines):
            found.append(others)
        found += [[*engines, writer] for writer in writers]
    return found


def _writes_png(group: Sequence[Subject]) -> bool:
    return any(isinstance(subject, ComfyuiSubject) for subject in group)


def fast_engines(bench: Workbench) -> list[Subject]:
    """Describe the engine with fast batching, on a GPU, where larger calls gain something, and in a quick run."""
    return [bench.engine(variant=FAST)] if bench.device.type == "cuda" or bench.plan.quick else []


def in_turns(
    bench: Workbench, section: str, workers: Sequence[Worker], seconds: float, turns: int, *, png: bool = False
) -> dict[str, dict[int, Window]]:
    """Measure up to ``turns`` windows of each subject under ``plan.clients`` callers; give them by name and turn.

    Every subject has its window of a turn before the next turn starts, and none always follows the same one. With
    ``png`` the engines' callers encode PNGs. The report names windows that are left out.
    """
    clients, begin = bench.plan.clients, time.monotonic()
    found: dict[str, dict[int, Window]] = {worker.subject.name: {} for worker in workers}
    going = list(workers)
    share = seconds / turns / max(1, len(workers))
    for turn in range(turns):
        expected = sum(sum(times(bench, worker, clients)) for worker in going)
        left = seconds - (time.monotonic() - begin)
        if turn > 0 and expected > left:
            reason = f"they take about {expected:.0f} s, and {max(0.0, left):.0f} s of the section's are left"
            bench.report.skip(f"{section}: windows after {turn} of {turns}", reason)
            break
        place = turn % max(1, len(going))
        for worker in going[place:] + going[:place]:
            name = worker.subject.name
            try:
                ours = isinstance(worker.subject, EngineSubject)
                found[name][turn] = serve(bench, worker, clients, share, seed=turn, png=png and ours)
            except (SkipSection, WorkerFailed) as reason:
                bench.report.skip(f"{section}: {name} under load, window {turn + 1}", str(reason))
                if isinstance(reason, WorkerLost):
                    going.remove(worker)
    return found


def times(bench: Workbench, worker: Worker, clients: int) -> tuple[float, float]:
    """Estimate how long a warm subject is loaded before it is watched, and how long it is watched, in seconds."""
    alone, together = bench.crew.alone[worker.subject.name], worker.subject.concurrent
    before = _LONGEST * alone * (clients if together else 1)
    window = max((_TOGETHER if together else _BY_TURNS) * alone, bench.plan.window[0])
    return before + _stagger(alone, clients, window), window


def serve(bench: Workbench, worker: Worker, clients: int, share: float, seed: int, *, png: bool = False) -> Window:
    """Measure one window of a load by ``clients`` callers; note what failed and what was prepared in it.

    Raises ``SkipSection`` if it takes more than three times its share or longer than is left, or has no pictures.
    """
    plan, name = bench.plan, worker.subject.name
    before, window = times(bench, worker, clients)
    if before + window > 3 * max(share, plan.window[0]):
        raise SkipSection(f"it needs about {before + window:.0f} s, and its share of the time is {share:.0f} s")
    bench.ask_time(before + window)
    found: Window = bench.call(worker, _job(bench, name, clients, before, window, seed, png), before + window)
    note_failures(bench, name, found.requests)
    if found.work <= 0 or found.seconds <= 0:
        raise SkipSection(f"fewer than two pictures in {before + window:.0f} s")
    _note_preparing(bench, f"{name}, {clients} callers", found)
    return found


def prime(bench: Workbench, worker: Worker, clients: int) -> None:
    """Load an engine until it is warm, before measurements that do not go through ``serve``."""
    if bench.device.type == "cpu" and not bench.plan.quick:
        return  # it prepares hardly anything there
    before, _ = times(bench, worker, clients)
    bench.call(worker, _job(bench, worker.subject.name, clients, before, 0.0, 99), before)


def rate(bench: Workbench, window: Window) -> float:
    """Convert a window's work into pictures of the plan's mix a second."""
    mix = Mixed(bench.plan.scale, 0)
    return window.rate(mix.mean_evaluations if window.counted else mix.scale.mean_steps)


def keep(bench: Workbench, section: str, name: str, windows: Sequence[Window], **conditions: Condition) -> None:
    """Report the windows of one subject: pictures a second, and what had to be prepared, if anything."""
    rates = [rate(bench, window) for window in windows]
    bench.figure(section, "pictures", name, rates, "images/s", "higher", **conditions)
    waits, prepared = [window.warm_after for window in windows], [window.prepared for window in windows]
    if any(waits):
        bench.figure(section, "last prepared after", name, waits, "s", "neither", **conditions)
    if any(prepared):
        bench.figure(section, "prepared while watched", name, prepared, "", "neither", **conditions)


def note_failures(bench: Workbench, name: str, requests: Sequence[TimedRequest]) -> None:
    """Note the requests that failed, except those given up at the end of the load."""
    wrong = [request.failure for request in requests if request.failure not in (None, "given up")]
    if wrong:
        bench.report.note(f"{name}: {len(wrong)} of {len(requests)} requests failed under load, the first: {wrong[0]}")


def _stagger(alone: float, clients: int, window: float) -> float:
    return min(alone * clients / 2, window / 4)


def _job(
    bench: Workbench, name: str, clients: int, before: float, window: float, seed: int, png: bool = False
) -> partial[Window]:
    quiet, most = bench.plan.warm
    return partial(
        observe_window,
        requests=Mixed(bench.plan.scale, seed),
        clients=clients,
        seconds=window,
        stagger=_stagger(bench.crew.alone[name], clients, window),
        seed=seed,
        quiet=quiet,
        patience=max(before, min(most, bench.budget.left() / _PART)),
        png=png,
    )


def _note_preparing(bench: Workbench, whose: str, window: Window) -> None:
    if not window.quiet:
        quiet, said = bench.plan.warm[0], "may not have been warm when it was watched: some caller was not served"
        bench.report.note(f"{whose}: {said}, or something was prepared less than {quiet:g} s before")
    if window.prepared:
        bench.report.note(f"{whose}: something was prepared {window.prepared} times while it was watched")


def _report(
    bench: Workbench, workers: Sequence[Worker], found: Mapping[str, Mapping[int, Window]], first: bool
) -> None:
    clients = bench.plan.clients
    engines = [worker.subject.name for worker in workers if isinstance(worker.subject, EngineSubject)]
    for name, windows in found.items():
        if windows and (first or name not in engines):
            keep(bench, "load", name, list(windows.values()), clients=clients)
    rates = {name: {turn: rate(bench, one) for turn, one in windows.items()} for name, windows in found.items()}
    for engine in [subject.name for subject in bench.engines() if subject.name in rates]:
        for peer in [name for name in rates if name not in engines]:
            quotients = _quotients(rates[peer], rates[engine])
            bench.figure("load", "times as many", engine, quotients, "×", "higher", beside=peer, clients=clients)
    exact = bench.engine().name
    for fast in [subject.name for subject in fast_engines(bench)] if first else []:
        if {exact, fast} <= rates.keys():
            shares = _quotients(rates[fast], rates[exact])
            bench.figure("load", "share of fast's", exact, shares, "of 1", "higher", beside=fast, clients=clients)


def _quotients(ones: Rates, others: Rates) -> list[float]:
    """Give ``others`` over ``ones`` in the turns that both took part in."""
    both = sorted(ones.keys() & others.keys())
    return paired([ones[turn] for turn in both], [others[turn] for turn in both])
