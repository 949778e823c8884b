"""The end of an attempt: its pictures written, its job's row settled, whoever waits told. Lives on the event loop.

Knows no queue: which job is begun when, ``runner`` says.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from engine import EngineError, GenerationFailed
from server.backends.protocol import Backend
from server.job import Failure, Job, Picture
from server.pictures.formats import encoders
from server.pictures.outputs import NotWritten, Outputs
from server.problems import failure_of
from server.queue.estimate import Estimate
from server.queue.events import Hub
from server.store import Ending, Store, StoreFailed
from server.webhooks.delivery import Webhooks

if TYPE_CHECKING:
    from engine import GenerationResult

_log = logging.getLogger(__name__)

PngTexts = Callable[[Job], Mapping[str, str]]
"""A job → the texts that its PNGs carry in place of the server's own, by keyword."""

_PAUSE_SECONDS = 1.0
_WRITE_PAUSES = (0.2, 1.0)
"""Seconds before a picture is written once more."""


class Finishing:
    """Settles attempts. Whatever happens to one, its job's row says so."""

    def __init__(
        self,
        *,
        store: Store,
        backend: Backend,
        outputs: Outputs,
        hub: Hub,
        estimate: Estimate,
        webhooks: Webhooks,
        max_attempts: int,
        png_texts: Mapping[str, PngTexts],
    ) -> None:
        """``png_texts``: what writes the texts of a job's PNGs, by the job's dialect."""
        self._png_texts = png_texts
        self._store = store
        self._backend = backend
        self._outputs = outputs
        self._hub = hub
        self._estimate = estimate
        self._webhooks = webhooks
        self._max_attempts = max_attempts
        self.closing = False
        """Whether the server stops: nothing is tried again for long."""

    async def failed(self, job: Job, error: BaseException) -> None:
        if not isinstance(error, EngineError):
            _log.error("a job failed", exc_info=error, extra={"job": job.id})
            error = GenerationFailed(f"{type(error).__name__}: {error}")
        await self._settle(job, Ending(state="failed", finished=time.time(), failure=failure_of(error)))

    async def keep(self, job: Job, results: Sequence[GenerationResult], together: int) -> None:
        """Encode and write the pictures, then say so in the row; ``together``: jobs that shared the device."""
        known = {info.file: info.short_hash for info in self._backend.models() if info.short_hash is not None}
        pictures = _pictures(job, results)
        names = [picture.name for picture in pictures]
        spent: list[float] = []
        texts = self._png_texts[job.dialect](job) if job.dialect in self._png_texts else None
        timed = [partial(_timed, encoder, spent) for encoder in encoders(results, known, texts)]
        try:
            await self._write(dict(zip(names, timed, strict=True)))
        except Exception as error:
            await self._discard(names)
            if not isinstance(error, NotWritten):
                raise
            _log.error("pictures could not be written: %s", error, extra={"job": job.id})
            failure = Failure(kind="storage_failed", message=f"the pictures could not be written ({error})")
            await self._settle(job, Ending(state="failed", finished=time.time(), failure=failure))
            return
        ending = Ending(
            state="succeeded",
            finished=time.time(),
            pictures=pictures,
            timings=_timings(job, results) | {"encode_png": max(spent)},
            record=dict(results[0].record),
        )
        settled = await self._settle(job, ending)
        if settled is not None and settled.state == "succeeded":
            self._estimate.ended(settled, together)
        else:
            await self._discard(names)

    async def _write(self, files: dict[str, Callable[[], bytes]]) -> None:
        """All of them, whole. Raises ``NotWritten`` when the storage goes on to fail, and what their making raises."""
        for pause in (*_WRITE_PAUSES, None):
            done = await asyncio.gather(
                *(self._outputs.write(name, make) for name, make in files.items()), return_exceptions=True
            )
            failed = {name: error for name, error in zip(files, done, strict=True) if error is not None}
            if not failed:
                return
            worst = next((error for error in failed.values() if not isinstance(error, NotWritten)), None)
            if worst is not None or pause is None:
                raise worst or next(iter(failed.values()))
            files = {name: files[name] for name in failed}
            await asyncio.sleep(pause)

    async def _discard(self, names: Sequence[str]) -> None:
        try:
            await self._outputs.remove(names)
        except Exception as error:
            _log.error("pictures of a dead attempt could not be removed: %s", error)

    async def _settle(self, job: Job, ending: Ending) -> Job | None:
        """The end in the row; where the server stops before the database takes it, the job is run again."""
        settled = await self._until_taken(job, lambda: self._store.finish(job.id, job.attempt, ending))
        if settled is None:
            _log.warning("an attempt ended that was not the running one", extra={"job": job.id})
            return None
        self.ended(settled)
        return settled

    async def _until_taken(self, job: Job, write: Callable[[], Awaitable[Job | None]]) -> Job | None:
        """``write``, tried until the database takes it or the server stops."""
        while True:
            try:
                return await write()
            except StoreFailed as error:
                _log.error("what became of a job could not be written: %s", error, extra={"job": job.id})
                if self.closing:
                    return None
                await asyncio.sleep(_PAUSE_SECONDS)

    async def again(self, job: Job, *, excused: bool) -> Job | None:
        """Back into the queue, or to its end where the row asks for that. None where another attempt runs, or where the
        server stops before the database takes it: then it stays running, and is found at the next start."""
        again = await self._until_taken(
            job,
            lambda: self._store.requeue(
                job.id, job.attempt, excused=excused, max_attempts=self._max_attempts, now=time.time()
            ),
        )
        if again is not None and again.done:
            self.ended(again)
        elif again is not None:
            self._hub.queued(again)
        return again

    def ended(self, job: Job) -> None:
        """Tell that ``job`` has come to its end."""
        self._hub.finished(job)
        self._webhooks.happened(job)


def _pictures(job: Job, results: Sequence[GenerationResult]) -> tuple[Picture, ...]:
    pictures: list[Picture] = []
    for number, result in enumerate(results):
        for index, image in enumerate(result.images):
            pictures.append(
                Picture(
                    name=f"{job.token}-{job.attempt}-{len(pictures)}.png",
                    width=image.width,
                    height=image.height,
                    seed=result.seed,
                    request=number,
                    index=index,
                )
            )
    return tuple(pictures)


def _timed(make: Callable[[], bytes], spent: list[float]) -> bytes:
    begun = time.perf_counter()
    data = make()
    spent.append(time.perf_counter() - begun)
    return data


def _timings(job: Job, results: Sequence[GenerationResult]) -> dict[str, float]:
    """Of each stage the longest among the requests, which run side by side."""
    each = [vars(result.timings) for result in results]
    longest = {stage: max(timings[stage] for timings in each) for stage in each[0]}
    return {"queued": max(0.0, (job.started or job.created) - job.created)} | longest
