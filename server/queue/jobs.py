"""The queue as the dialects see it: accept a job, look for jobs, follow one, cancel it. Lives on the event loop; the
database and the engine have threads of their own. Knows no dialect."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from typing import Any, TypeVar

from engine import BadRequest, GenerationRequest, Workflow
from engine.workflow.text import EncodedText
from server.backends.protocol import Backend
from server.inputs.input import Input
from server.inputs.inputs import Inputs
from server.job import Job, NewJob, Place
from server.pictures.storage import PictureFiles
from server.problems import Problem, not_found
from server.queue.accepting import fingerprint, job_for
from server.queue.dispatcher import Dispatcher
from server.queue.estimate import Estimate
from server.queue.events import Event, finished_event
from server.queue.finishing import Finishing, PngTexts
from server.queue.housekeeping import Housekeeping
from server.queue.hub import Hub
from server.queue.places import Places
from server.queue.refusals import conflict, queue_full, shutting_down, stored
from server.settings import Settings
from server.store import Found, IdTaken, InputGone, KeyConflict, QueueFull, Search, Store
from server.store.choice import new_store
from server.task import loaded_names
from server.webhooks.delivery import Webhooks
from server.webhooks.messages import Composer
from server.webhooks.targets import Resolve, resolve

_log = logging.getLogger(__name__)
T = TypeVar("T")

_LONG = 10_000
"""The length of a request's prompts, in characters, from which checking them would hold up the event loop."""


class Jobs:
    """The durable queue. An accepted job is a committed row."""

    def __init__(
        self,
        settings: Settings,
        backend: Backend,
        outputs: PictureFiles,
        bodies: Mapping[str, Callable[[Job, str], dict[str, Any]]] | None = None,
        *,
        png_texts: Mapping[str, PngTexts] | None = None,
        store: Store | None = None,
        resolve: Resolve = resolve,
        watch: Callable[[Event], None] | None = None,
    ) -> None:
        """Put the parts together; ``start`` opens the store.

        ``bodies`` writes the body of a webhook, by ``Webhook.form``; ``png_texts`` the texts of a job's PNGs, by its
        dialect. ``store`` is the SQLite database of the settings by default. ``resolve`` looks up webhooks' hosts,
        ``watch`` is called with every event.
        """
        self._settings = settings
        self._backend = backend
        composer = Composer(bodies or {})
        self._store: Store = store or new_store(settings.database, composer)
        self._hub = Hub()
        self._watch = watch
        self._estimate = Estimate()
        self._places = Places(self._store, self._hub, self._estimate)
        self._webhooks = Webhooks(self._store, settings, composer, resolve=resolve)
        self.inputs = Inputs(self._store, settings, resolve=resolve)
        self._housekeeping = Housekeeping(self._store, outputs, self.inputs, settings)
        shared: dict[str, Any] = {
            "store": self._store,
            "backend": backend,
            "hub": self._hub,
            "webhooks": self._webhooks,
            "max_attempts": settings.max_attempts,
        }
        self._finishing = Finishing(outputs=outputs, estimate=self._estimate, png_texts=png_texts or {}, **shared)
        self._dispatcher = Dispatcher(finishing=self._finishing, inputs=self.inputs, **shared)
        self._closed = False

    async def start(self) -> None:
        """Open the store, queue the jobs again that a crash interrupted, and start to run jobs.

        Raises ``StoreUnusable``, among others if another process uses the database.
        """
        await self._store.open()
        found = await self._store.recover(max_attempts=self._settings.max_attempts, now=time.time())
        for job in found.queued:
            self._hub.reserve(job.id)
            self._hub.queued(job)
        self._hub.watch = self._watch  # jobs that waited before are not accepted again
        for job in found.ended:  # no reader is there yet
            _log.warning("a job that a crash interrupted ended as %s", job.state, extra={"job": job.id})
        await self._housekeeping.start()
        self._webhooks.start()
        self._dispatcher.start()

    async def close(self, drain: float) -> None:
        """Accept nothing more, let running jobs end within ``drain`` seconds, and queue the others again."""
        if self._closed:
            return
        self._closed = True
        await self._dispatcher.close(drain)
        self._hub.close()
        await self._webhooks.close()
        await self._housekeeping.close()
        await self._store.close()

    def hurry(self) -> None:
        """Let ``close`` wait for running jobs no longer."""
        self._dispatcher.hurry()

    async def accept(self, new: NewJob) -> Job:
        """Return a committed job for ``new``, its seeds fixed and its models named, or the one its key gave before.

        Raises ``Problem``: 429 ``queue_full`` with Retry-After, 409 ``idempotency_conflict`` if the key came with a
        different request before, 409 ``id_taken``, 400 ``too_large`` beyond the settings' limits on pixels, steps and
        pictures, 503 ``shutting_down``, 507 ``storage_failed``; and ``BadRequest``, ``UnknownCheckpoint``.
        """
        if self._closed:
            raise shutting_down()
        try:
            inputs = await self._inputs_of(new)
            slow = not self._backend.ready or bool(inputs) or any(_is_long(wanted) for wanted in new.wanted)
            arguments = (new, self._settings, self._backend, inputs)
            job = await asyncio.to_thread(job_for, *arguments) if slow else job_for(*arguments)
            print_ = fingerprint(new) if new.idempotency_key is not None else ""
            accepted = await _whole(self._accept(job, print_))
            if accepted.token != job.token:  # it was accepted before
                await self.inputs.forget_call(new.inputs.values())
            return accepted
        except (Problem, BadRequest):
            await self.inputs.forget_call(new.inputs.values())
            raise

    async def _inputs_of(self, new: NewJob) -> Mapping[str, Input]:
        """Return the pictures for a job, by the names that its workflows have for them: ids name themselves."""
        names = {name for wanted in new.wanted for name in loaded_names(wanted)} - set(new.inputs)
        return {**await self.inputs.find(names), **new.inputs} if names or new.inputs else {}

    async def get(self, id: str) -> Job | None:
        """Return one job, or None if there is none. Raises ``Problem``: 503, 507."""
        return await stored(self._store.get(id))

    async def find(self, search: Search) -> Found:
        """Return a page of jobs, and how many the search has in each state. Raises ``Problem``: 503, 507."""
        return await stored(self._store.find(search))

    async def cancel(self, id: str) -> Job | None:
        """Cancel a queued job at once and a running one within a step; leave a finished one.

        Returns the job as it is then, or None if there is none.
        """
        return await _whole(self._cancel(id))

    async def interrupt(self, id: str) -> Job | None:
        """End a running job within a step, with the pictures that are done: those of the tasks that have ended.

        It has succeeded if there is one, and is cancelled otherwise, as a queued job is. Returns as ``cancel`` does.
        """
        return await _whole(self._cancel(id, keep=True))

    async def skip(self, id: str) -> None:
        """Give up the pictures that a job is making, and go on with those that wait; as ``interrupt`` if none do."""
        if not self._dispatcher.skip(id):
            await self.interrupt(id)

    async def forget(self, ids: Collection[str]) -> int:
        """Remove finished jobs with their pictures; return how many there were."""
        return await _whole(stored(self._housekeeping.forget(ids)))

    async def drop_picture(self, id: str, name: str) -> Job | None:
        """Remove one picture of a finished job, and the job with its last one; return the job without the picture, or
        None if no such job has it."""
        return await _whole(stored(self._housekeeping.drop_picture(id, name)))

    async def tidy(self) -> int:
        """Remove the finished jobs beyond their retention now, as the server does by itself; return how many."""
        return await _whole(stored(self._housekeeping.tidy()))

    async def wait(self, id: str, timeout: float | None = None) -> Job:
        """Wait until a job is done, ``timeout`` seconds have passed or the server stops; return the job as it is then.

        Raises ``Problem`` 404.
        """
        end = self._hub.end_of(id)
        if end is not None:
            try:
                done, _ = await asyncio.wait({end}, timeout=timeout)
                if done and not end.cancelled():
                    return end.result()
            finally:
                end.cancel()  # if it is not done, the caller has gone
        latest = self._hub.latest(id)
        return latest.job if latest is not None else await self._there(id)

    async def events(self, id: str, after: int = 0) -> AsyncIterator[Event]:
        """Yield the events of a job that are newer than event ``after``: how it stands, then what happens to its end.

        The last one is ``finished``, unless the server stops. A slow reader misses steps, but never the end. Raises
        ``Problem`` 404.
        """
        reader = self._hub.subscribe(id, after)
        if reader is not None:
            async for event in reader:
                yield event
            return
        job = await self._there(id)
        if job.done and finished_event(job).number > after:
            yield finished_event(job)

    def all_events(self) -> AsyncIterator[Event]:
        """Return the events of all jobs from now on, until the server stops or 10,000 wait for this reader."""
        return self._hub.subscribe_all()

    def latest(self, id: str) -> Event | None:
        """Return the latest event, other than a preview, of a queued or running job, without waiting."""
        return self._hub.latest(id)

    async def place(self, job: Job) -> Place | None:
        """Return where a queued or running job stands, or None if it is done."""
        return (await self.places([job]))[job.id]

    async def places(self, jobs: Collection[Job]) -> dict[str, Place | None]:
        """Return the place of each job by its id."""
        return await self._places.of(jobs)

    async def _accept(self, job: Job, print_: str) -> Job:
        ours = self._hub.reserve(job.id)
        accepted = None
        try:
            adding = self._store.add(job, fingerprint=print_, max_queued=self._settings.max_queued)
            self._dispatcher.queued(job.client)
            accepted = await stored(adding)
        except QueueFull:
            raise queue_full(self._settings.max_queued, self._estimate.between()) from None
        except InputGone:
            raise conflict("input_gone", "a picture that the request names has been deleted meanwhile") from None
        except KeyConflict:
            detail = f"idempotency key {job.idempotency_key!r} came with a different request before"
            raise conflict("idempotency_conflict", detail) from None
        except IdTaken:
            raise conflict("id_taken", f"there is a job {job.id!r} already") from None
        finally:
            if ours and (accepted is None or accepted.token != job.token):  # the id may belong to a job that is done
                self._hub.drop(job.id)
        if accepted.token == job.token:
            self._hub.queued(accepted)
        return accepted

    async def _cancel(self, id: str, *, keep: bool = False) -> Job | None:
        job = await stored(self._store.cancel(id, time.time(), keep=keep))
        if job is None:
            return None
        if job.state == "cancelled":  # perhaps before its acceptance was published; no reader hears it twice
            self._finishing.ended(job)
        elif job.state == "running" and self._hub.knows(id):
            self._hub.changed(job)
            self._dispatcher.cancel(job)
        return job

    async def _there(self, id: str) -> Job:
        job = await self.get(id)
        if job is None:
            raise not_found("job", id)
        return job


def _is_long(wanted: GenerationRequest | Workflow) -> bool:
    """Whether it takes a while to look through the prompts."""
    if isinstance(wanted, GenerationRequest):
        return len(wanted.prompt) + len(wanted.negative_prompt) > _LONG
    return sum(len(node.text) for node in wanted.nodes if isinstance(node, EncodedText)) > _LONG


async def _whole(operation: Coroutine[Any, Any, T]) -> T:
    """Carry out ``operation`` to its end, even if the caller goes away meanwhile."""
    task = asyncio.ensure_future(operation)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # the caller may have gone
    return await asyncio.shield(task)
