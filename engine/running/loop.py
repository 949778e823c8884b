"""The one thread that talks to the device: starts workflows, ticks the batcher, resumes nodes, settles handles.

While nothing is asked of it, it does chores. Knows no files and no nodes; executions reach it through a queue.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence

import torch
from PIL.Image import Image
from torch import Tensor

from engine.batching.batcher import Batcher
from engine.batching.trajectory import Trajectory
from engine.device.devices import settle
from engine.device.memory import device_lost
from engine.device.transfer import Lead
from engine.errors import BadRequest, EngineClosed
from engine.handle import GenerationResult, Handle, Progress
from engine.running.chores import Chore
from engine.running.execution import Execution
from engine.running.failures import as_ours
from engine.running.functions import Until
from engine.running.memory_needs import check_room, has_room, may_have_room
from engine.running.model import Model
from engine.running.observer import Observer, Unobserved

_log = logging.getLogger(__name__)


class Loop:
    """Runs on its own thread from construction until ``close``."""

    def __init__(self, *, device: torch.device, capacity: int, rows: int, observer: Observer | None = None) -> None:
        self._device = device
        self._observer = observer or Unobserved()
        self._lead = Lead(device)
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._executions: dict[Handle, Execution] = {}
        self._ready: deque[Execution] = deque()  # their checkpoints are there, or failed to load
        self._flying: dict[Trajectory, Execution] = {}
        self._working: deque[tuple[Execution, Tensor | None]] = deque()  # what each is resumed with
        self._arriving: list[tuple[Execution, Until]] = []
        self._batcher: Batcher[Trajectory] = Batcher(self._evaluate, capacity=capacity, rows=rows)
        self._chores: deque[tuple[weakref.ref[Model], Chore]] = deque()
        self._door = threading.Lock()
        self._closing = False
        self._reason = "the engine is closed"
        self._ticks = self._evaluations = 0
        self._tick_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, execution: Execution) -> None:
        """Carry ``execution`` out as soon as its checkpoints are there. From any thread. Raises ``EngineClosed``."""
        with self._door:
            if self._closing:
                execution.close()
                raise EngineClosed(self._reason)
            self._inbox.put(lambda: self._accept(execution))
        box = [execution]  # a future never forgets its callbacks: this one must not keep the execution
        execution.lease.resident.add_done_callback(
            lambda _: self._inbox.put(functools.partial(self._ready.append, box.pop()))
        )

    def cancel(self, handle: Handle) -> None:
        """Let go of what belongs to ``handle``, which is settled already. From any thread."""
        self._inbox.put(lambda: self._drop(handle))

    def warm_up(self, model: Model, chores: Sequence[Chore]) -> None:
        """Do ``chores`` in idle time, as long as ``model`` is resident. From any thread."""
        reference = weakref.ref(model)
        self._inbox.put(functools.partial(self._chores.extend, [(reference, chore) for chore in chores]))

    def close(self, timeout: float | None = None) -> None:
        """Stop after the tick that is running. Requests that are not done fail with ``EngineClosed``. Any thread may
        call this."""
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
                except Exception as error:  # a defect of ours: nothing that was under way may be left waiting
                    for execution in list(self._executions.values()):
                        self._fail(execution, error)
        while not self._inbox.empty():
            self._inbox.get()()
        for handle in list(self._executions):
            handle.fail(EngineClosed(self._reason))
            self._drop(handle)

    def _turn(self) -> None:
        """Take in what the inbox holds; then start one execution, evaluate once and work for as long, so that none
        waits for long. With nothing else to do, do one chore."""
        while True:
            busy = (
                self._closing or self._ready or len(self._batcher) > 0 or self._working or self._arriving or self._idle
            )
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
        self._work()
        self._look_for_arrivals()
        self._lead.mark()

    @property
    def _idle(self) -> bool:
        """Whether there is time for a chore."""
        return bool(self._chores) and not self._executions and not self._ready

    def _do_chore(self, reference: weakref.ref[Model], chore: Chore) -> None:
        """Do ``chore``, to its end on the device: requests that come meanwhile wait for nothing else."""
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

    def _accept(self, execution: Execution) -> None:
        if execution.handle.done:
            execution.close()
            return
        self._executions[execution.handle] = execution
        if execution.lease.waits:
            execution.handle.report(Progress(stage="loading"))

    def _drop(self, handle: Handle) -> None:
        execution = self._executions.pop(handle, None)
        if execution is None:
            return
        if execution.trajectory is not None and self._flying.pop(execution.trajectory, None) is not None:
            self._batcher.remove(execution.trajectory)
        self._working = deque(item for item in self._working if item[0] is not execution)
        self._arriving = [item for item in self._arriving if item[0] is not execution]
        execution.close()

    def _fail(self, execution: Execution, error: BaseException) -> None:
        if device_lost(error):
            self._stop_for(error)
            return
        execution.handle.fail(as_ours(error))
        self._drop(execution.handle)

    def _stop_for(self, error: BaseException) -> None:
        """The device is lost for this process. What is not done may be carried out by another one."""
        if not self._closing:
            _log.critical("the device fails, and the engine stops: %s", error)
        with self._door:
            self._reason = f"the device failed ({error}); it can be used again by a new process"
            self._closing = True

    def _start(self, execution: Execution) -> None:
        """The checkpoints are there, or failed to load: run the workflow up to its first wish."""
        if execution.handle not in self._executions:
            return
        try:
            resident = execution.resident
            others = self._flying or self._working or self._arriving
            memory = resident, execution.needs, self._device
            if others and not has_room(*memory) and may_have_room(*memory):
                self._ready.appendleft(execution)  # what the others hold comes back
                return
            execution.tiled = check_room(*memory)
            execution.mark("load")
        except BadRequest as error:
            self._fail(execution, execution.located(error))
            return
        except Exception as error:
            self._fail(execution, error)
            return
        self._resume(execution, None)

    def _resume(self, execution: Execution, answer: Tensor | None) -> None:
        try:
            wish = execution.resume(answer)
        except Exception as error:
            self._fail(execution, error)
            return
        if isinstance(wish, GenerationResult):
            execution.handle.succeed(wish)
            self._drop(execution.handle)
        elif isinstance(wish, Trajectory):
            execution.mark("encode")
            self._flying[wish] = execution
            self._batcher.add(wish)
            node, cached, made = execution.node, execution.cached, execution.made()
            execution.handle.report(Progress(stage="waiting", steps=wish.steps, node=node, cached=cached, made=made))
        else:
            moved = execution.moved()
            if moved is not None:
                execution.handle.report(moved)
            if isinstance(wish, Until):
                self._arriving.append((execution, wish))
            else:
                self._working.append((execution, None))

    def _work(self) -> None:
        """Resume what is at work, once at least; on a CPU for about as long as the latest tick took. On a GPU, where
        that is not known here, slices are as long as ticks."""
        begin = time.perf_counter()
        while self._working:
            self._resume(*self._working.popleft())
            if self._device.type != "cpu" or time.perf_counter() - begin >= self._tick_seconds:
                return

    def _tick(self) -> None:
        begin = time.perf_counter()
        for trajectory in self._batcher.admit():
            execution = self._flying[trajectory]
            execution.mark("wait")
            execution.handle.report(_sampling(execution, trajectory, step=0))
        tick = self._batcher.tick()
        self._tick_seconds = time.perf_counter() - begin if tick.advanced else 0.0
        self._ticks += bool(tick.advanced)
        self._evaluations += sum(trajectory.latest for trajectory in tick.advanced)
        for trajectory, error in tick.failed:
            self._fail(self._flying[trajectory], error)
        for trajectory in tick.advanced:
            execution = self._flying[trajectory]
            execution.handle.report(_sampling(execution, trajectory, step=trajectory.step, preview=execution.preview()))
        for trajectory in tick.finished:
            execution = self._flying.pop(trajectory)
            execution.mark("sample")
            if execution.last_sampling:
                execution.handle.report(
                    dataclasses.replace(_sampling(execution, trajectory, step=trajectory.step), stage="decoding")
                )
            self._working.append((execution, trajectory.x))

    def _evaluate(self, trajectories: Sequence[Trajectory]) -> list[list[tuple[Tensor, ...]]]:
        with self._observer.stage("step"):
            evaluations = [trajectory.evaluation() for trajectory in trajectories]
            wanted = [evaluation for evaluation in evaluations if evaluation is not None]
            return trajectories[0].denoiser.predict(wanted)

    def _look_for_arrivals(self) -> None:
        """Resume all whose tensors have arrived on the CPU, or, where there is nothing else to do, wait for them."""
        idle = not self._working and len(self._batcher) == 0
        arriving, self._arriving = self._arriving, []
        for execution, wish in arriving:
            if idle or wish.ready:
                self._resume(execution, None)
            else:
                self._arriving.append((execution, wish))


def _sampling(execution: Execution, trajectory: Trajectory, *, step: int, preview: Image | None = None) -> Progress:
    done = execution.done(trajectory)
    return Progress(
        stage="sampling", step=step, steps=trajectory.steps, done=done, preview=preview, node=execution.node
    )
