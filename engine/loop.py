"""The one thread that talks to the device: starts jobs, ticks the batcher, decodes what is done, settles handles.

Knows no files and no names; jobs reach it through a queue.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from engine.batcher import Batcher
from engine.checkpoint import Checkpoint
from engine.conditioning import Conditioner
from engine.denoiser import Denoiser
from engine.errors import BadRequest, EngineClosed, EngineError, GenerationFailed, OutOfMemory
from engine.finish import Finish
from engine.handle import GenerationResult, Handle, Progress, Timings
from engine.memory import free_bytes, out_of_memory
from engine.pool import Lease
from engine.trajectory import Trajectory
from engine.transfer import Fetch
from engine.vae import Decoder, latents_of


@dataclass(frozen=True, eq=False)
class Model:
    """A resident checkpoint and what works with it."""

    checkpoint: Checkpoint
    conditioner: Conditioner
    denoiser: Denoiser
    decoder: Decoder
    record: dict[str, Any]


@dataclass(eq=False)
class Job:
    """A request on its way through the loop."""

    handle: Handle
    lease: Lease[Model]
    previews: bool
    marks: list[float] = field(default_factory=lambda: [time.perf_counter()])
    """When it was submitted, loaded, encoded, admitted, sampled and decoded."""
    trajectory: Trajectory | None = None
    finish: Finish | None = None
    preview: Fetch | None = None

    @property
    def model(self) -> Model:
        return self.lease.resident.result(timeout=0)


class Loop:
    """Runs on its own thread from construction until ``close``."""

    def __init__(self, *, device: torch.device, capacity: int, rows: int) -> None:
        self._device = device
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._jobs: dict[Handle, Job] = {}
        self._flying: dict[Trajectory, Job] = {}
        self._finishing: deque[Job] = deque()
        self._batcher: Batcher[Trajectory] = Batcher(_evaluate, capacity=capacity, rows=rows)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Carry ``job`` out as soon as its checkpoint is there. From any thread."""
        self._inbox.put(lambda: self._accept(job))
        job.lease.resident.add_done_callback(lambda _: self._inbox.put(lambda: self._start(job)))

    def cancel(self, handle: Handle) -> None:
        """Let go of what belongs to ``handle``, which is settled already. From any thread."""
        self._inbox.put(lambda: self._drop(handle))

    def close(self, timeout: float | None = None) -> None:
        """Stop after the tick that is running; whoever is not done fails with ``EngineClosed``. From any thread."""
        self._inbox.put(self._close)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _run(self) -> None:
        with torch.inference_mode():
            while not self._closing:
                try:
                    self._receive()
                    self._tick()
                    self._finish_some()
                except Exception as error:  # a defect of ours: nobody who was under way may be left waiting
                    for job in list(self._jobs.values()):
                        self._fail(job, error)
        for handle in list(self._jobs):
            handle.fail(EngineClosed("the engine was closed"))
            self._drop(handle)

    def _receive(self) -> None:
        """Do what the inbox asks for; wait for it only where nothing else is to be done."""
        while True:
            busy = self._closing or len(self._batcher) > 0 or len(self._finishing) > 0
            try:
                self._inbox.get(block=not busy)()
            except queue.Empty:
                return

    def _close(self) -> None:
        self._closing = True

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
        job.lease.release()

    def _fail(self, job: Job, error: BaseException) -> None:
        job.handle.fail(_as_ours(error))
        self._drop(job.handle)

    def _start(self, job: Job) -> None:
        """The checkpoint is there, or failed to load: encode the prompts and queue for a place."""
        if job.handle not in self._jobs:
            return
        request = job.handle.request
        try:
            model = job.model
            job.marks.append(time.perf_counter())
            self._check_memory(model, request.width, request.height)
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

    def _check_memory(self, model: Model, width: int, height: int) -> None:
        free = free_bytes(self._device)
        needed = max(model.decoder.peak_bytes(width, height), model.denoiser.peak_bytes(width, height))
        if needed > free:
            most = int((width * height * free / needed) ** 0.5) // 8 * 8
            allowed = f"a size that fits into {free / 2**30:.1f} GiB of free memory, such as {most} × {most}"
            raise BadRequest("width × height", f"{width} × {height}", allowed)

    def _tick(self) -> None:
        for trajectory in self._batcher.admit():
            job = self._flying[trajectory]
            job.marks.append(time.perf_counter())
            job.handle.report(Progress(stage="sampling", step=0, steps=trajectory.steps))
        tick = self._batcher.tick()
        for trajectory, error in tick.failed:
            self._fail(self._flying[trajectory], error)
        for trajectory in tick.advanced:
            self._report(self._flying[trajectory], trajectory)
        for trajectory in tick.finished:
            job = self._flying.pop(trajectory)
            assert trajectory.x is not None
            job.marks.append(time.perf_counter())
            job.finish = Finish(job.model.decoder, trajectory.x)
            job.handle.report(Progress(stage="decoding", step=trajectory.step, steps=trajectory.steps))
            self._finishing.append(job)

    def _report(self, job: Job, trajectory: Trajectory) -> None:
        picture = None
        if job.previews and trajectory.denoised is not None:
            shown = job.preview
            job.preview = Fetch(job.model.decoder.preview(latents_of(trajectory.denoised[:1])))
            shown = job.preview if job.preview.ready() else shown
            picture = Image.fromarray(shown.value().numpy()) if shown is not None and shown.ready() else None
        job.handle.report(Progress(stage="sampling", step=trajectory.step, steps=trajectory.steps, preview=picture))

    def _finish_some(self) -> None:
        """Decode one picture, of those who were done first; settle who is complete."""
        if not self._finishing:
            return
        job = self._finishing[0]
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
            images=images, latents=latents, request=job.handle.request, timings=timings, record=job.model.record
        )
        job.handle.succeed(result)
        self._drop(job.handle)


def _evaluate(trajectories: Sequence[Trajectory]) -> list[Tensor]:
    evaluations = [trajectory.evaluation() for trajectory in trajectories]
    return trajectories[0].denoiser.denoise([evaluation for evaluation in evaluations if evaluation is not None])


def _as_ours(error: BaseException) -> EngineError:
    """``error`` as the caller sees it: ours as it is, anything else as the failure of this one request."""
    if isinstance(error, EngineError):
        return error
    kind = OutOfMemory if out_of_memory(error) else GenerationFailed
    ours = kind(f"{type(error).__name__}: {error}")
    ours.__cause__ = error
    return ours
