"""Ends tasks and attempts: keeps the pictures, settles the job's row, and notifies the readers of its events. Lives on
the event loop.

Knows no queue: which job starts when is the business of ``dispatcher``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from engine import EngineError, GenerationFailed
from engine.errors import text_of
from server.backends.protocol import Backend
from server.job import Failure, Job
from server.pictures.formats import encoders
from server.pictures.storage import NotWritten, PictureFiles
from server.problems import Problem, failure_of
from server.queue.estimate import Estimate
from server.queue.hub import Hub
from server.queue.output import Output
from server.store import Ending, Store, StoreFailed
from server.webhooks.delivery import Webhooks

if TYPE_CHECKING:
    from engine import GenerationResult

_log = logging.getLogger(__name__)

PngTexts = Callable[[Job, int], Mapping[str, str] | None]
"""Returns the texts that the PNGs of a job's task, by its number, carry in place of the server's own, by keyword; None
for none."""

_PAUSE_SECONDS = 1.0


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

    def output(self, job: Job) -> Output:
        """Return the place for the pictures of an attempt that starts."""
        return Output(job, self._outputs)

    async def keep(self, output: Output, number: int, result: GenerationResult) -> None:
        """Write the pictures of a task that has ended, and show them in the job's row if those of others follow.

        A caller that is cancelled meanwhile does not stop this; ``Output.at_rest`` waits for it. Raises ``NotWritten``
        and what encoding a picture raises.
        """
        await asyncio.shield(output.start(self._keep(output, number, result)))

    def keep_early(self, output: Output, number: int, made: GenerationResult) -> None:
        """Start to write the pictures of output nodes of a task that goes on. If that fails, ``keep`` raises it."""
        output.start_early(number, self._write(output, number, made))

    async def _keep(self, output: Output, number: int, result: GenerationResult) -> None:
        await output.early(number)
        await self._write(output, number, output.rest(number, result), ended=True)

    async def _write(self, output: Output, number: int, result: GenerationResult, *, ended: bool = False) -> None:
        job = output.job
        models = [(info.file, info.short_hash) for info in self._backend.models()]
        known = {file.rpartition("/")[2]: digest for file, digest in models if digest is not None}
        texts_of = self._png_texts.get(job.dialect)
        texts = None if texts_of is None else texts_of(job, number)
        pictures = await output.write(number, result, encoders([job.tasks[number]], [result], known, [texts]))
        if ended:
            output.end(number)
        if not output.complete:  # else the end of the attempt shows them
            await self._show(output)
        self._hub.made(job, number, pictures)

    async def _show(self, output: Output) -> None:
        """Show in the job's row what is there by now."""
        job = output.job
        try:
            shown = await self._store.show(job.id, job.attempt, output.made)
        except StoreFailed as error:
            _log.error("a picture could not be shown in its job's row: %s", error, extra={"job": job.id})
            return
        if shown is not None:
            self._hub.changed(shown)

    async def succeeded(self, output: Output, together: int) -> None:
        """Settle an attempt whose pictures are there. ``together`` is the number of jobs that shared the device."""
        made = vars(output.made)
        settled = await self._settle(output, Ending(state="succeeded", finished=time.time(), **made))
        if settled is not None and settled.state == "succeeded" and output.complete:
            self._estimate.ended(settled, together)

    async def failed(self, output: Output, error: BaseException) -> None:
        """Settle an attempt that failed with ``error``."""
        await self._settle(output, Ending(state="failed", finished=time.time(), failure=_failure(output.job, error)))

    async def _settle(self, output: Output, ending: Ending) -> Job | None:
        """Write the end into the row; if the server stops before the store takes it, the job runs again."""
        job = output.job
        settled = await self._until_taken(job, lambda: self._store.finish(job.id, job.attempt, ending))
        await self._clear(output, settled)
        if settled is None:
            _log.warning("an attempt ended that was not the running one", extra={"job": job.id})
            return None
        self.ended(settled)
        return settled

    async def _clear(self, output: Output, settled: Job | None) -> None:
        """Remove the pictures that the settled row does not have. Where the server stops before a row is settled, it
        may have them still, and the next start finds the others."""
        if settled is not None or not self.closing:
            await output.discard_others(() if settled is None else settled.pictures)

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

    async def again(self, output: Output, *, excused: bool) -> Job | None:
        """Queue a job again, or end it if its row asks for that.

        None if another attempt runs, or if the server stops before the store takes the change: then the row says
        ``running`` still, and the next start finds it.
        """
        job = output.job
        again = await self._until_taken(
            job,
            lambda: self._store.requeue(
                job.id, job.attempt, excused=excused, max_attempts=self._max_attempts, now=time.time()
            ),
        )
        await self._clear(output, again)
        if again is not None and again.done:
            self.ended(again)
        elif again is not None:
            self._hub.queued(again)
        return again

    def ended(self, job: Job) -> None:
        """Publish that ``job`` has ended."""
        self._hub.finished(job)
        self._webhooks.happened(job)


def _failure(job: Job, error: BaseException) -> Failure:
    """Return what a job's row says of ``error``."""
    if isinstance(error, Problem):  # a picture that was handed in cannot be read
        return Failure(kind=error.kind, message=error.detail, field=error.field)
    if isinstance(error, NotWritten):
        _log.error("pictures could not be written: %s", error.__cause__ or error, extra={"job": job.id})
        return Failure(kind="storage_failed", message=f"the pictures could not be written ({error})")
    if not isinstance(error, EngineError):
        _log.error("a job failed", exc_info=error, extra={"job": job.id})
        error = GenerationFailed(text_of(error))
    return failure_of(error)
