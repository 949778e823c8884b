"""Keeps the pictures of one attempt: encodes and writes those of each output node when they are made, and the rest of
each task when the task ends. Lives on the event loop.

Knows no store: whether the pictures are the job's in the end is the business of ``finishing``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from server.job import Job, Picture
from server.pictures.storage import NotWritten, PictureFiles
from server.store import Made

if TYPE_CHECKING:
    from engine import GenerationResult

_log = logging.getLogger(__name__)

_WRITE_PAUSES = (0.2, 1.0)
"""The seconds before each further attempt to write a picture."""


class Output:
    """The pictures that an attempt has made."""

    def __init__(self, job: Job, files: PictureFiles) -> None:
        self.job = job
        self._files = files
        self._names: list[str] = []
        """The names of all files, those that are being written included."""
        self._places: dict[int, dict[Hashable, str]] = {}
        """The names of each task's files, by what the pictures are made from and their place in the batch."""
        self._pictures: dict[int, dict[str, tuple[Picture, ...]]] = {}
        """The pictures whose files are there, by task and output node."""
        self._ended: set[int] = set()
        """The numbers of the tasks all of whose pictures are there."""
        self._early: dict[int, list[asyncio.Task[None]]] = {}
        """What writes the pictures of a task that has not ended yet."""
        self._records: dict[int, dict[str, Any]] = {}
        self._timings: dict[str, float] = {"queued": max(0.0, (job.started or job.created) - job.created)}
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def complete(self) -> bool:
        """Whether the pictures of all tasks are there."""
        return len(self._ended) == len(self.job.tasks)

    @property
    def made(self) -> Made:
        """What is there, in the order of the tasks; of each stage's seconds the longest, as tasks run side by side."""
        order = sorted(self._pictures)
        return Made(
            pictures=tuple(picture for number in order for picture in self._in_order(number)),
            timings=dict(self._timings) if order else {},
            record=self._records[order[0]] if order else {},
        )

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Carry out ``work`` on the files, which ``at_rest`` waits for."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def at_rest(self) -> None:
        """Wait until nothing is being written any more."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    def start_early(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        """Carry out ``work`` on the pictures of a task that goes on. ``early`` raises what it raises."""
        writing = self.start(work)
        writing.add_done_callback(lambda done: done.cancelled() or done.exception())  # also if ``early`` is not called
        self._early.setdefault(number, []).append(writing)

    async def early(self, number: int) -> None:
        """Wait for what ``start_early`` started for a task."""
        if number in self._early:
            await asyncio.gather(*self._early.pop(number))

    def rest(self, number: int, result: GenerationResult) -> GenerationResult:
        """Return ``result`` without the output nodes whose pictures are there."""
        there = self._pictures.get(number)
        if there is None:
            return result
        outputs = {node: images for node, images in result.outputs.items() if node not in there}
        return dataclasses.replace(result, outputs=outputs)

    def end(self, number: int) -> None:
        """Note that all pictures of a task are there."""
        self._ended.add(number)

    async def write(
        self, number: int, result: GenerationResult, encoders: Sequence[Callable[[], bytes]]
    ) -> Sequence[Picture]:
        """Write pictures of a task, in the order of its outputs, and return them. They are durable when this returns.

        Raises ``NotWritten`` if the storage keeps failing, and what an encoder raises.
        """
        known, spent = len(self._names), list[float]()
        pictures = self._pictures_of(number, result)
        new = set(self._names[known:])
        files = {
            picture.name: partial(_timed, encoder, spent)
            for picture, encoder in zip(pictures, encoders, strict=True)
            if picture.name in new
        }
        await self._write(files)
        for stage, seconds in (*vars(result.timings).items(), ("encode_png", max(spent, default=0.0))):
            self._timings[stage] = max(seconds, self._timings.get(stage, seconds))
        self._records[number] = dict(result.record)
        own = self._pictures.setdefault(number, {})
        own |= {node: tuple(picture for picture in pictures if picture.node == node) for node in result.outputs}
        return pictures

    def _in_order(self, number: int) -> Iterator[Picture]:
        """Iterate over the pictures of a task in the order of its outputs."""
        there = self._pictures[number]
        for node in self.job.tasks[number].workflow.outputs:
            yield from there.get(node, ())

    async def discard_others(self, kept: Collection[Picture]) -> None:
        """Remove the files of all pictures but those that are kept."""
        others = set(self._names) - {picture.name for picture in kept}
        try:
            await self._files.remove(others)
        except Exception as error:
            _log.error("pictures of a dead attempt could not be removed: %s", error)

    def _pictures_of(self, number: int, result: GenerationResult) -> tuple[Picture, ...]:
        """Return the pictures of all outputs. Outputs of the same pictures have the same files."""
        pictures: list[Picture] = []
        names = self._places.setdefault(number, {})
        for node, images in result.outputs.items():
            for index, image in enumerate(images):
                key = result.workflow.outputs[node].pictures, index
                if key not in names:
                    names[key] = f"{self.job.token}-{self.job.attempt}-{len(self._names)}.png"
                    self._names.append(names[key])
                pictures.append(
                    Picture(
                        name=names[key],
                        width=image.width,
                        height=image.height,
                        seed=self.job.tasks[number].seed(node),
                        request=number,
                        index=index,
                        node=node,
                    )
                )
        return tuple(pictures)

    async def _write(self, files: Mapping[str, Callable[[], bytes]]) -> None:
        """Write all files whole."""
        for pause in (*_WRITE_PAUSES, None):
            done = await asyncio.gather(
                *(self._files.write(name, make) for name, make in files.items()), return_exceptions=True
            )
            failed = {name: error for name, error in zip(files, done, strict=True) if error is not None}
            if not failed:
                return
            worst = next((error for error in failed.values() if not isinstance(error, NotWritten)), None)
            if worst is not None or pause is None:
                raise worst or next(iter(failed.values()))
            files = {name: files[name] for name in failed}
            await asyncio.sleep(pause)


def _timed(make: Callable[[], bytes], spent: list[float]) -> bytes:
    start = time.perf_counter()
    data = make()
    spent.append(time.perf_counter() - start)
    return data
