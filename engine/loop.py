"""The one thread that talks to the device: starts jobs, ticks the batcher, decodes what is done, settles handles.

Knows no files and no names; jobs reach it through a queue.
"""

from __future__ import annotations

import functools
import itertools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.batcher import Batcher
from engine.device import settle
from engine.errors import BadRequest, EngineClosed, EngineError, GenerationFailed, OutOfMemory
from engine.finish import Finish
from engine.handle import GenerationResult, Handle, Progress, Timings
from engine.job import Job, Model
from engine.memory import free_bytes, out_of_memory
from engine.request import GenerationRequest
from engine.trajectory import Trajectory
from engine.transfer import Lead
from engine.vae import PIXELS_PER_CELL

_log = logging.getLogger(__name__)

_LATENTS_AT_WORK = 12
"""About how many tensors of x's size a sampler holds at most."""


class Loop:
    """Runs on its own thread from construction until ``close``."""

    def __init__(self, *, device: torch.device, capacity: int, rows: int) -> None:
        self._device = device
        self._lead = Lead(device)
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._jobs: dict[Handle, Job] = {}
        self._flying: dict[Trajectory, Job] = {}
        self._finishing: deque[Job] = deque()
        self._batcher: Batcher[Trajectory] = Batcher(_evaluate, capacity=capacity, rows=rows)
        self._ready: deque[Job] = deque()  # their checkpoints are there, or failed to load
        self._door = threading.Lock()
        self._closing = False
        self._ticks = self._evaluations = 0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Carry ``job`` out as soon as its checkpoint is there. From any thread. Raises ``EngineClosed``."""
        with self._door:
            if self._closing:
                job.lease.release()
                raise EngineClosed("the engine is closed")
            self._inbox.put(lambda: self._accept(job))
        box = [job]  # a future never forgets its callbacks: this one must not keep the job
        job.lease.resident.add_done_callback(
            lambda _: self._inbox.put(functools.partial(self._ready.append, box.pop()))
        )

    def cancel(self, handle: Handle) -> None:
        """Let go of what belongs to ``handle``, which is settled already. From any thread."""
        self._inbox.put(lambda: self._drop(handle))

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
            handle.fail(EngineClosed("the engine was closed"))
            self._drop(handle)

    def _turn(self) -> None:
        """Take in what the inbox holds; start one job, evaluate once, decode one picture: so nobody waits for long."""
        while True:
            busy = self._closing or self._ready or len(self._batcher) > 0 or self._finishing
            try:
                self._inbox.get(block=not busy)()
            except queue.Empty:
                break
        if self._closing:
            return
        if self._ready:
            self._start(self._ready.popleft())
        self._tick()
        if self._finishing:
            self._finish_some()
        self._lead.mark()

    def _accept(self, job: Job) -> None:
        if job.handle.done:
            job.lease.release()
        else:
            self._jobs[job.handle] = job
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
        job.handle.fail(as_ours(error))
        self._drop(job.handle)

    def _start(self, job: Job) -> None:
        """The checkpoint is there, or failed to load: encode the prompts and queue for a place."""
        if job.handle not in self._jobs:
            return
        request = job.handle.request
        try:
            model = job.model
            job.marks.append(time.perf_counter())
            self._check_memory(model, request)
            conditioning = model.conditioner.encode(request.prompt, request.clip_skip)
            negative = conditioning
            if request.cfg_scale != 1:
                negative = model.conditioner.encode(request.negative_prompt, request.clip_skip, "negative_prompt")
            job.trajectory = Trajectory(request, model.denoiser, conditioning, negative)
        except Exception as error:
            self._fail(job, error)
            return
        job.marks.append(time.perf_counter())
        self._flying[job.trajectory] = job
        self._batcher.add(job.trajectory)
        job.handle.report(Progress(stage="waiting", steps=job.trajectory.steps))

    def _check_memory(self, model: Model, request: GenerationRequest) -> None:
        """Refuse a request that does not fit into the memory that is free now."""
        free = free_bytes(self._device)
        width, height = request.width, request.height
        one = max(model.decoder.peak_bytes(width, height), model.denoiser.peak_bytes(width, height))
        if one > free:
            most = int((width * height * free / one) ** 0.5) // 8 * 8
            allowed = f"with height {height}, a size that fits into {free / 2**30:.1f} GiB of memory"
            raise BadRequest("width", width, f"{allowed}, such as {most} × {most}" if most >= 16 else allowed)
        picture = width * height * (3 + _LATENTS_AT_WORK * 4 * 4 // PIXELS_PER_CELL**2)
        if one + request.batch_size * picture > free:
            allowed = f"at most {(free - one) // picture} pictures of this size in {free / 2**30:.1f} GiB of memory"
            raise BadRequest("batch_size", request.batch_size, allowed)

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
        """Decode one picture, in turns among those who are sampled; settle who is complete."""
        job = self._finishing[0]
        self._finishing.rotate(-1)
        assert job.finish is not None
        try:
            if not job.finish.decoded:
                job.finish.slice()
            if job.finish.ready() or (job.finish.decoded and len(self._batcher) == 0):
                self._settle(job, job.finish)
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
