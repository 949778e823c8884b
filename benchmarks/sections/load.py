"""Many callers at once with mixed requests: engine and peers in turns, each window the same requests for everyone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.bench import Bench, SkipSection
from benchmarks.drive import Visit, closed_loop, warm_up
from benchmarks.samples import paired, rates
from benchmarks.subjects import EngineSubject
from benchmarks.worker import Worker, WorkerFailed
from benchmarks.workloads import Mixed, Scale

_TURNS = 2
_PRIMING = 1.5  # seconds


def run(bench: Bench, seconds: float) -> None:
    """``plan.clients`` callers for every subject: pictures a second."""
    heats = bench.heats()
    for number, heat in enumerate(heats):
        workers = bench.open(heat)
        if workers:
            _heat(bench, workers, seconds / len(heats), first=number == 0)
        bench.crew.release(subject.name for subject in heat if not isinstance(subject, EngineSubject))


def _heat(bench: Bench, workers: Sequence[Worker], seconds: float, first: bool) -> None:
    clients = bench.plan.clients
    served: dict[str, list[float]] = {}
    turns = _TURNS if not bench.plan.quick else 1
    for turn in range(turns):
        for worker in workers:
            name = worker.subject.name
            try:
                if turn == 0 and isinstance(worker.subject, EngineSubject):
                    prime(bench, worker)
                window = window_seconds(bench, worker, clients, seconds / len(workers) / turns)
                found = serve(bench, worker, clients, window, seed=turn)
            except (SkipSection, WorkerFailed) as reason:
                bench.report.skip(f"load: {name}", str(reason))
                continue
            served.setdefault(name, []).extend(found)
    engines = [worker.subject.name for worker in workers if isinstance(worker.subject, EngineSubject)]
    for name, found in served.items():
        if first or name not in engines:
            bench.figure("load", "pictures", name, found, "images/s", "higher", clients=clients)
    for engine in [name for name in engines if name in served]:
        for peer in [name for name in served if name not in engines]:
            count = min(len(served[engine]), len(served[peer]))
            quotients = paired(served[peer][:count], served[engine][:count])
            bench.figure("load", "times as many", engine, quotients, "×", "higher", beside=peer, clients=clients)


def window_seconds(bench: Bench, worker: Worker, clients: int, share: float) -> float:
    """How long to load a subject: its share of the time, but long enough to serve the engine's callers once and some of
    them again, or to paint six pictures with a peer, which serves one after another.

    Raises ``SkipSection`` where that takes more than three times the share.
    """
    low, high = bench.plan.window
    window = max(least_window(bench, worker, clients), min(max(share, low), high))
    if window > 3 * max(share, low):
        raise SkipSection(f"it needs about {window:.0f} s, and its share of the time is {share:.0f} s")
    bench.ask_time(window)
    return window


def least_window(bench: Bench, worker: Worker, clients: int) -> float:
    """The seconds without which a load tells nothing; as if callers were served one after another."""
    pictures = 1.3 * clients + 2 if isinstance(worker.subject, EngineSubject) else 6
    return max(pictures * bench.crew.alone[worker.subject.name], bench.plan.window[0])


def serve(bench: Bench, worker: Worker, clients: int, seconds: float, seed: int) -> list[float]:
    """Pictures a second, in blocks, once the first callers have been served; what failed is noted."""
    plan, name = bench.plan, worker.subject.name
    stagger = min(bench.crew.alone[name] * clients / 2, seconds / 4)
    job = partial(
        closed_loop, requests=Mixed(plan.scale, seed), clients=clients, seconds=seconds, stagger=stagger, seed=seed
    )
    visits: list[Visit] = bench.call(worker, job, seconds)
    tell_failures(bench, name, visits)
    left = [visit.left for visit in visits if visit.served]
    if len(left) < 2:
        bench.report.note(f"{name}, {clients} callers: fewer than two pictures in {seconds:.0f} s")
        return []
    return rates(left, left[min(clients // 2, len(left) // 3)])


def prime(bench: Bench, worker: Worker) -> None:
    """Short loads first, so that what the engine records or compiles for the shapes of a load is there when the clock
    runs: a few callers at once, more, and as many as there will be.
    """
    if bench.device.type == "cpu" and not bench.plan.quick:
        return  # nothing is compiled there
    short = Mixed(Scale(size=bench.plan.scale.size, steps=3), 99)
    alone, most = bench.crew.alone[worker.subject.name], max(*bench.plan.levels, bench.plan.clients)
    least = _PRIMING if bench.device.type == "cuda" else 0.0
    for clients in sorted({min(2, most), min(4, most), min(8, most), most}):
        seconds = max(least, alone)
        load = partial(closed_loop, requests=short, clients=clients, seconds=seconds, stagger=0, seed=0)
        bench.call(worker, load, 30 + seconds)
    bench.call(worker, partial(warm_up, requests=short, least=1, seconds=10.0), 30)


def tell_failures(bench: Bench, name: str, visits: Sequence[Visit]) -> None:
    """Note what went wrong, other than being given up at the end."""
    wrong = [visit.failure for visit in visits if visit.failure not in (None, "given up")]
    if wrong:
        bench.report.note(f"{name}: {len(wrong)} of {len(visits)} requests failed under load, the first: {wrong[0]}")
