"""The one thread that talks to the device: starts jobs, ticks the batcher, decodes what is done, settles handles.

While nobody waits it does chores. Knows no files and no names; jobs reach it through a queue.
"""

from __future__ import annotations

import functools
import itertools
import logging
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.batching.batcher import Batcher
from engine.batching.trajectory import Trajectory
from engine.device.devices import settle
from engine.device.memory import device_lost, out_of_memory
from engine.device.transfer import Lead
from engine.errors import EngineClosed, EngineError, GenerationFailed, OutOfMemory
from engine.handle import GenerationResult, Handle, Progress, Timings
from engine.running.chores import Chore
from engine.running.finish import Finish
from engine.running.job import Job, Model
from engine.running.memory_needs import check_room, has_room
from engine.running.observer import Observer, Unobserved
from engine.sampling.samplers import SAMPLERS

_log = logging.getLogger(__name__)


class Loop:
    """Runs on its own thread from construction until ``close``."""

    def __init__(self, *, device: torch.device, capacity: int, rows: int, observer: Observer | None = None) -> None:
        self._device = device
        self._observer = observer or Unobserved()
        self._lead = Lead(device)
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._jobs: dict[Handle, Job] = {}
        self._flying: dict[Trajectory, Job] = {}
        self._finishing: deque[Job] = deque()
        self._batcher: Batcher[Trajectory] = Batcher(self._evaluate, capacity=capacity, rows=rows)
        self._ready: deque[Job] = deque()  # their checkpoints are there, or failed to load
        self._chores: deque[tuple[weakref.ref[Model], Chore]] = deque()
        self._door = threading.Lock()
        self._closing = False
        self._reason = "the engine is closed"
        self._ticks = self._evaluations = 0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Carry ``job`` out as soon as its checkpoint is there. From any thread. Raises ``EngineClosed``."""
        with self._door:
            if self._closing:
                job.lease.release()
                raise EngineClosed(self._reason)
            self._inbox.put(lambda: self._accept(job))
        box = [job]  # a future never forgets its callbacks: this one must not keep the job
        job.lease.resident.add_done_callback(
            lambda _: self._inbox.put(functools.partial(self._ready.append, box.pop()))
        )

    def cancel(self, handle: Handle) -> None:
        """Let go of what belongs to ``handle``, which is settled already. From any thread."""
        self._inbox.put(lambda: self._drop(handle))

    def warm_up(self, model: Model, chores: Sequence[Chore]) -> None:
        """Do ``chores`` while nobody waits, as long as ``model`` is resident. From any thread."""
        reference = weakref.ref(model)
        self._inbox.put(functools.partial(self._chores.extend, [(reference, chore) for chore in chores]))

    def close(self, timeout: float | None = None) -> None:
        """Stop after the tick that is running; whoever is not done fails with ``EngineClosed``. From any thread."""
        with self._door:
            self._closing = True
        self._inbox.put(lambda: None)  # wakes the thread
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    @property
    def running(self) -> bool:
        """Whether what is submitted is carried out."""
        return self._thread.is_alive() and not self._closing

    @property
    def counts(self) -> dict[str, int]:
        """What was done since the start, and how many pictures take part now."""
        flying = sum(trajectory.pictures for trajectory in list(self._flying))  # copied at once, from any thread
        return {"ticks": self._ticks, "evaluations": self._evaluations, "in_flight": flying}

    def _run(self) -> None:
        settle(self._device)
        with torch.inference_mode():
            while not self._closing:
                try:
                    self._turn()
                except Exception as error:  # a defect of ours: nobody who was under way may be left waiting
                    for job in list(self._jobs.values()):
                        self._fail(job, error)
        while not self._inbox.empty():
            self._inbox.get()()
        for handle in list(self._jobs):
            handle.fail(EngineClosed(self._reason))
            self._drop(handle)

    def _turn(self) -> None:
        """Take in what the inbox holds; start one job, evaluate once, decode one picture: so nobody waits for long.

        Where nobody waits, do one chore.
        """
        while True:
            busy = self._closing or self._ready or len(self._batcher) > 0 or self._finishing or self._idle
            try:
                self._inbox.get(block=not busy)()
            except queue.Empty:
                break
        if self._closing:
            return
        if self._idle:
            self._do_chore(*self._chores.popleft())
            return
        if self._ready:
            self._start(self._ready.popleft())
        self._tick()
        if self._finishing:
            self._finish_some()
        self._lead.mark()

    @property
    def _idle(self) -> bool:
        """Whether there is time for a chore."""
        return bool(self._chores) and not self._jobs and not self._ready

    def _do_chore(self, reference: weakref.ref[Model], chore: Chore) -> None:
        """Do ``chore``, to its end on the device: who comes meanwhile waits for nothing else."""
        model = reference()
        if model is None:
            return
        try:
            chore(model)
            self._lead.finish()
        except Exception as error:
            if device_lost(error):
                self._stop_for(error)
            else:
                _log.warning("a chore is dropped: %s: %s", type(error).__name__, error)

    def _accept(self, job: Job) -> None:
        if job.handle.done:
            job.lease.release()
        else:
            self._jobs[job.handle] = job
            if job.lease.waits:
                job.handle.report(Progress(stage="loading"))

    def _drop(self, handle: Handle) -> None:
        job = self._jobs.pop(handle, None)
        if job is None:
            return
        if job.trajectory is not None:
            self._batcher.remove(job.trajectory)
            self._flying.pop(job.trajectory, None)
        if job in self._finishing:
            self._finishing.remove(job)
        job.trajectory = job.finish = job.preview = None
        job.lease.release()

    def _fail(self, job: Job, error: BaseException) -> None:
        if device_lost(error):
            self._stop_for(error)
            return
        job.handle.fail(as_ours(error))
        self._drop(job.handle)

    def _stop_for(self, error: BaseException) -> None:
        """Nobody can be served any more; whoever is not done may be by another process."""
        if not self._closing:
            _log.critical("the device fails, and the engine stops: %s", error)
        with self._door:
            self._reason = f"the device failed ({error}); it can be used again by a new process"
            self._closing = True

    def _start(self, job: Job) -> None:
        """The checkpoint is there, or failed to load: encode the prompts and queue for a place."""
        if job.handle not in self._jobs:
            return
        request = job.handle.request
        try:
            model = job.model
            if (self._flying or self._finishing) and not has_room(model, request, self._device):
                self._ready.appendleft(job)  # what the others hold comes back
                return
            check_room(model, request, self._device)
            job.marks.append(time.perf_counter())
            with self._observer.stage("encode"):
                conditioning = model.conditioner.encode(request.prompt, request.clip_skip)
                negative = conditioning
                if request.cfg_scale != 1 or SAMPLERS[request.sampler].needs_unconditional:
                    negative = model.conditioner.encode(request.negative_prompt, request.clip_skip, "negative_prompt")
            job.trajectory = Trajectory(request, model.denoiser, conditioning, negative, job.owner)
        except Exception as error:
            self._fail(job, error)
            return
        job.marks.append(time.perf_counter())
        self._flying[job.trajectory] = job
        self._batcher.add(job.trajectory)
        job.handle.report(Progress(stage="waiting", steps=job.trajectory.steps))

    def _tick(self) -> None:
        for trajectory in self._batcher.admit():
            job = self._flying[trajectory]
            job.marks.append(time.perf_counter())
            job.handle.report(Progress(stage="sampling", step=0, steps=trajectory.steps))
        tick = self._batcher.tick()
        self._ticks += bool(tick.advanced)
        self._evaluations += sum(trajectory.latest for trajectory in tick.advanced)
        for trajectory, error in tick.failed:
            self._fail(self._flying[trajectory], error)
        for trajectory in tick.advanced:
            job = self._flying[trajectory]
            shown = job.show()
            job.handle.report(Progress(stage="sampling", step=trajectory.step, steps=trajectory.steps, preview=shown))
        for trajectory in tick.finished:
            self._decode(self._flying.pop(trajectory), trajectory)

    def _evaluate(self, trajectories: Sequence[Trajectory]) -> list[Tensor]:
        with self._observer.stage("step"):
            return _evaluate(trajectories)

    def _decode(self, job: Job, trajectory: Trajectory) -> None:
        assert trajectory.x is not None
        job.marks.append(time.perf_counter())
        try:
            job.finish = Finish(job.model.decoder, trajectory.x)
        except Exception as error:
            self._fail(job, error)
        else:
            job.handle.report(Progress(stage="decoding", step=trajectory.step, steps=trajectory.steps))
            self._finishing.append(job)

    def _finish_some(self) -> None:
        """Decode one picture, in turns among those who are sampled; settle all who are complete."""
        job = next((job for job in self._finishing if not _finish_of(job).decoded), None)
        if job is not None:
            self._finishing.remove(job)
            self._finishing.append(job)
            try:
                with self._observer.stage("decode"):
                    _finish_of(job).slice()
            except Exception as error:
                self._fail(job, error)
        idle = job is None and len(self._batcher) == 0
        for job in list(self._finishing):
            finish = _finish_of(job)
            if finish.ready() or (idle and finish.decoded):
                try:
                    self._settle(job, finish)
                except Exception as error:
                    self._fail(job, error)

    def _settle(self, job: Job, finish: Finish) -> None:
        latents, images = finish.result()
        job.marks.append(time.perf_counter())
        spent = [later - earlier for earlier, later in itertools.pairwise(job.marks)]
        stages = dict(zip(("load", "encode", "wait", "sample", "decode"), spent, strict=True))
        timings = Timings(**stages, total=job.marks[-1] - job.marks[0])
        result = GenerationResult(
            images=images,
            latents=latents,
            request=job.handle.request,
            timings=timings,
            record=dict(job.model.record),
        )
        job.handle.succeed(result)
        self._drop(job.handle)


def _finish_of(job: Job) -> Finish:
    assert job.finish is not None
    return job.finish


def _evaluate(trajectories: Sequence[Trajectory]) -> list[Tensor]:
    evaluations = [trajectory.evaluation() for trajectory in trajectories]
    return trajectories[0].denoiser.denoise([evaluation for evaluation in evaluations if evaluation is not None])


def as_ours(error: BaseException) -> EngineError:
    """``error`` as the caller sees it: ours as it is, anything else, which is logged, as this request's failure.

    Without its traceback, whose frames would keep the device's tensors for as long as somebody keeps the error.
    """
    if isinstance(error, EngineError):
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    _log.error("a request failed", exc_info=error)
    error.with_traceback(None)
    kind = OutOfMemory if out_of_memory(error) else GenerationFailed
    return kind(f"{type(error).__name__}: {error}")
