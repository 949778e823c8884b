"""What routes work with. ``server.app`` puts it together once and passes it to each dialect."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from fastapi import Request
from starlette.requests import ClientDisconnect

from server.backends.protocol import Backend
from server.inputs.inputs import Inputs
from server.job import Job
from server.pictures.storage import PictureFiles
from server.problems import Problem
from server.queue.jobs import Jobs
from server.settings import Settings
from server.web.access import Access


@dataclass(eq=False, kw_only=True)
class Services:
    """The parts of one running server that routes use."""

    settings: Settings
    jobs: Jobs
    backend: Backend
    outputs: PictureFiles
    inputs: Inputs
    access: Access
    closing: bool = field(default=False)
    """Whether the server is shutting down: then a connection that ends cancels no job."""
    drained: asyncio.Future[None] | None = field(default=None)
    """Set at shutdown, and done when every job has ended or is back in the queue."""

    def client_of(self, http: Request) -> str:
        """Name the caller: by the name of its key, else by its address."""
        return self.access.client_of(http)

    async def wait_connected(self, http: Request, job: Job, timeout: float | None = None) -> Job:
        """Wait for ``job`` and return it once it is done, or as it is after ``timeout`` seconds.

        A caller that closes the connection cancels the job, unless the job has an idempotency key or the server is
        closing; either way ``ClientDisconnect`` is raised. Raises ``Problem`` 503 where the server closes first.
        """
        ended = asyncio.ensure_future(self.jobs.wait(job.id, timeout))
        gone = asyncio.ensure_future(_hung_up(http))
        try:
            await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                if job.idempotency_key is None and not self.closing:
                    await self.jobs.cancel(job.id)
                raise ClientDisconnect
            after = ended.result()
        finally:
            ended.cancel()
            gone.cancel()
        if not after.done and self.closing:
            raise Problem(
                status=503,
                kind="shutting_down",
                title="Shutting down",
                detail=f"the server is shutting down; job {job.id} is kept and goes on when the server is back",
                headers={"Retry-After": "5"},
            )
        return after


async def _hung_up(http: Request) -> None:
    """Return when the caller has closed the connection. The body must have been read before."""
    while (await http.receive())["type"] != "http.disconnect":
        pass
