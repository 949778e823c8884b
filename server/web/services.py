"""What routes work with, put together once by ``server.app``. Passed to each dialect; never found."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from fastapi import Request
from starlette.requests import ClientDisconnect

from server.backends.protocol import Backend
from server.job import Job
from server.pictures.storage import Outputs
from server.problems import Problem
from server.queue.jobs import Jobs
from server.settings import Settings
from server.web.access import Access


@dataclass(eq=False, kw_only=True)
class Services:
    settings: Settings
    jobs: Jobs
    backend: Backend
    outputs: Outputs
    access: Access
    closing: bool = field(default=False)
    """Whether the server is shutting down: a connection that ends now is no cancel."""
    drained: asyncio.Future[None] | None = field(default=None)
    """Done when all jobs have ended or wait again, once the server shuts down."""

    def client_of(self, http: Request) -> str:
        """Who asks: the name of the key, else the peer's address."""
        return self.access.client_of(http)

    async def wait_connected(self, http: Request, job: Job, timeout: float | None = None) -> Job:
        """The job once it is done, or as it is after ``timeout``. If the caller hangs up, the job is cancelled, unless
        it has an idempotency key or the server is closing: then it raises ``Problem`` 503."""
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
    """Returns when the caller has closed the connection. The body was read before."""
    while (await http.receive())["type"] != "http.disconnect":
        pass
