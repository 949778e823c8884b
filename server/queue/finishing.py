"""Ends attempts: writes the pictures, settles the job's row, and notifies the readers of its events. Lives on the event
loop.

Knows no queue: which job starts when is the business of ``dispatcher``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from engine import EngineError, GenerationFailed
from server.backends.protocol import Backend
from server.job import Failure, Job, Picture
from server.pictures.formats import encoders
from server.pictures.storage import NotWritten, PictureFiles
from server.problems import Problem, failure_of
from server.queue.estimate import Estimate
from server.queue.hub import Hub
from server.store import Ending, Store, StoreFailed
from server.webhooks.delivery import Webhooks

if TYPE_CHECKING:
    from engine import GenerationResult

_log = logging.getLogger(__name__)

PngTexts = Callable[[Job, int], Mapping[str, str] | None]
"""Returns the texts that the PNGs of a job's task, by its number, carry in place of the server's own, by keyword; None
for none."""

_PAUSE_SECONDS = 1.0
_WRITE_PAUSES = (0.2, 1.0)
"""The seconds before each further attempt to write a picture."""


class Finishing:
    """Settles attempts: whatever happens to one, its job's row says so."""

    def __init__(
        self,
        *,
        store: Store,
        backend: Backend,
        outputs: PictureFiles,
        hub: Hub,
        estimate: Estimate,
        webhooks: Webhooks,
        max_attempts: int,
        png_texts: Mapping[str, PngTexts],
    ) -> None:
        """Take the parts that it works with; ``png_texts`` writes the texts of a job's PNGs, by the job's dialect."""
        self._png_texts = png_texts
        self._store = store
        self._backend = backend
        self._outputs = outputs
        self._hub = hub
        self._estimate = estimate
        self._webhooks = webhooks
        self._max_attempts = max_attempts
        self.closing = False
        """Whether the server is stopping, so that a store that fails is not asked again."""

    async def failed(self, job: Job, error: BaseException) -> None:
        """Settle an attempt that failed with ``error``."""
        if isinstance(error, Problem):  # a picture that was handed in cannot be read
            failure = Failure(kind=error.kind, message=error.detail, field=error.field)
            await self._settle(job, Ending(state="failed", finished=time.time(), failure=failure))
            return
        if not isinstance(error, EngineError):
            _log.error("a job failed", exc_info=error, extra={"job": job.id})
            error = GenerationFailed(f"{type(error).__name__}: {error}")
        await self._settle(job, Ending(state="failed", finished=time.time(), failure=failure_of(error)))

    async def keep(self, job: Job, results: Sequence[GenerationResult], together: int) -> None:
        """Settle an attempt that succeeded: encode and write its pictures, then say so in the row.

        ``together`` is the number of jobs that shared the device.
        """
        models = [(info.file, info.short_hash) for info in self._backend.models()]
        known = {file.rpartition("/")[2]: digest for file, digest in models if digest is not None}
        pictures = _pictures(job, results)
        names = [picture.name for picture in pictures]
        spent: list[float] = []
        texts_of = self._png_texts.get(job.dialect)
        texts = [None if texts_of is None else texts_of(job, number) for number in range(len(job.tasks))]
        timed = [partial(_timed, encoder, spent) for encoder in encoders(job.tasks, results, known, texts)]
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
        """Write all files whole. Raises ``NotWritten`` if the storage keeps failing, and what making one raises."""
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
        """Write the end into the row; if the server stops before the store takes it, the job runs again."""
        settled = await self._until_taken(job, lambda: self._store.finish(job.id, job.attempt, ending))
        if settled is None:
            _log.warning("an attempt ended that was not the running one", extra={"job": job.id})
            return None
        self.ended(settled)
        return settled

    async def _until_taken(self, job: Job, write: Callable[[], Awaitable[Job | None]]) -> Job | None:
        """Call ``write`` until the store takes the change or the server stops."""
        while True:
            try:
                return await write()
            except StoreFailed as error:
                _log.error("the end of a job could not be written to the store: %s", error, extra={"job": job.id})
                if self.closing:
                    return None
                await asyncio.sleep(_PAUSE_SECONDS)

    async def again(self, job: Job, *, excused: bool) -> Job | None:
        """Queue a job again, or end it if its row asks for that.

        None if another attempt runs, or if the server stops before the store takes the change: then the row says
        ``running`` still, and the next start finds it.
        """
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
        """Publish that ``job`` has ended."""
        self._hub.finished(job)
        self._webhooks.happened(job)


def _pictures(job: Job, results: Sequence[GenerationResult]) -> tuple[Picture, ...]:
    """Return the pictures of all outputs. PictureFiles of the same pictures have the same files."""
    pictures: list[Picture] = []
    names: dict[Hashable, str] = {}
    for number, result in enumerate(results):
        for node, images in result.outputs.items():
            for index, image in enumerate(images):
                key = number, result.workflow.outputs[node].pictures, index
                name = names.setdefault(key, f"{job.token}-{job.attempt}-{len(names)}.png")
                pictures.append(
                    Picture(
                        name=name,
                        width=image.width,
                        height=image.height,
                        seed=job.tasks[number].seed(node),
                        request=number,
                        index=index,
                        node=node,
                    )
                )
    return tuple(pictures)


def _timed(make: Callable[[], bytes], spent: list[float]) -> bytes:
    start = time.perf_counter()
    data = make()
    spent.append(time.perf_counter() - start)
    return data


def _timings(job: Job, results: Sequence[GenerationResult]) -> dict[str, float]:
    """Return the longest time of each stage among the requests, which run side by side."""
    each = [vars(result.timings) for result in results]
    longest = {stage: max(timings[stage] for timings in each) for stage in each[0]}
    return {"queued": max(0.0, (job.started or job.created) - job.created)} | longest
