"""``create_app`` puts the server's parts together; ``running`` starts and stops what lies behind the routes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware

from engine import EngineClosed, __version__
from server.backends.protocol import Backend
from server.dialects.dialect import Dialect
from server.dialects.native.form import form_fields
from server.dialects.registry import DIALECTS, served_dialects
from server.observing.job_events import watcher
from server.observing.metrics import Metrics
from server.pictures.storage import PictureFiles
from server.queue.jobs import Jobs
from server.settings import Settings
from server.web import probes
from server.web.access import Access
from server.web.errors import add_error_handlers, answer_with
from server.web.middleware import AccessMiddleware, Answer, BodyLimitMiddleware, HeadersMiddleware, HeadMiddleware
from server.web.openapi import document
from server.web.pages import add_pages, page_paths
from server.web.services import Services
from server.web.telemetry import TelemetryMiddleware

log = logging.getLogger(__name__)

_STARTUP_STATUS = ("model", "device", "dtype", "batching")
_WATCH_SECONDS = 1.0
_EXPOSED_HEADERS = (
    *("Content-Disposition", "Content-Location", "ETag", "Location", "Preference-Applied", "Retry-After"),
    *("X-Job-Id", "X-Request-Id", "X-Seed", "X-Should-Retry", "X-Total-Count"),
)
"""Headers of answers that pages of other origins may read."""


def create_app(settings: Settings, backend: Backend | None = None) -> FastAPI:
    """Make the whole server as an ASGI application. ``backend`` stands in for the one that the settings name."""
    metrics = Metrics()
    dialects = served_dialects(settings.dialects)
    services = _services(settings, backend, dialects, metrics)
    answer = answer_with(dialects)
    app = FastAPI(
        title="Stable Diffusion engine",
        version=__version__,
        lifespan=running,
        docs_url=None,  # FastAPI's own reference loads its scripts from elsewhere; ``pages`` serves one
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services, app.state.give_up = services, None
    in_order = sorted(dialects, key=lambda dialect: not dialect.always_served)
    _add_routes(app, [probes.create_router(services, metrics), *(each.create_router(services) for each in in_order)])
    add_pages(app, _page_description(services))
    add_error_handlers(app, answer)
    _add_middleware(app, services, metrics, answer)
    app.openapi = functools.cache(lambda: document(app, services, dialects))  # type: ignore[method-assign]
    return app


def _page_description(services: Services) -> dict[str, Any]:
    """What the page knows before it asks: its form's fields, and whether callers need a key."""
    fields = form_fields(services.settings.max_pictures)
    return {"version": __version__, "keys": services.access.keys_required, "fields": fields}


def _add_routes(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Add all routes to one flat list, which each request searches in order: ``include_router`` would make it search
    each router too."""
    for router in routers:
        app.router.routes += router.routes


def _add_middleware(app: FastAPI, services: Services, metrics: Metrics, answer: Answer) -> None:
    """Add the middleware from the innermost to the outermost: the one added last sees a request first."""
    settings, access = services.settings, services.access
    app.add_middleware(BodyLimitMiddleware, limit=settings.max_body_bytes, answer=answer)
    app.add_middleware(AccessMiddleware, access=access, answer=answer)
    app.add_middleware(HeadersMiddleware)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=_EXPOSED_HEADERS,
        )
    app.add_middleware(HeadMiddleware)
    app.add_middleware(TelemetryMiddleware, metrics=metrics, answer=answer)


def _services(settings: Settings, backend: Backend | None, dialects: Iterable[Dialect], metrics: Metrics) -> Services:
    """``dialects``: those that are served. Jobs of the others, which an earlier run of the server may have accepted,
    are finished in their own dialect's way all the same."""
    if backend is None:
        backend = _backend(settings)
    outputs = PictureFiles(settings.outputs)
    bodies = {each.name: each.webhook_body for each in DIALECTS if each.webhook_body is not None}
    texts = {each.name: each.png_texts for each in DIALECTS if each.png_texts is not None}
    public = page_paths().union(*(each.public_paths for each in dialects))
    jobs = Jobs(settings, backend, outputs, bodies, png_texts=texts, watch=watcher(metrics))
    return Services(
        settings=settings,
        jobs=jobs,
        backend=backend,
        outputs=outputs,
        inputs=jobs.inputs,
        access=Access(settings, public, [prefix for each in dialects for prefix in each.public_prefixes]),
    )


def _backend(settings: Settings) -> Backend:
    if settings.backend == "instant":
        from server.backends.instant import SHIPPED, InstantBackend

        return InstantBackend(
            step_seconds=settings.instant_step_seconds, capacity=settings.max_in_flight, more_files=SHIPPED
        )
    from server.backends.engine import EngineBackend  # imports torch

    return EngineBackend(settings)


@contextlib.asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    """Run everything behind the routes for as long as the block.

    The server listens while the checkpoint loads: it accepts jobs meanwhile, and /readyz answers 503. Raises what
    ``Jobs.start`` raises. Calls ``app.state.give_up`` with the error if the backend does not start, or stops by itself.
    """
    services: Services = app.state.services
    await services.jobs.start()
    watching = asyncio.create_task(_watch_backend(services, app.state.give_up))
    try:
        yield
    finally:
        await drain(services)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await services.backend.close()


async def _watch_backend(services: Services, give_up: Callable[[Exception], None] | None) -> None:
    """Start the backend, and notice if it stops."""
    started = time.perf_counter()
    try:
        await services.backend.start()
    except Exception as error:
        log.error("the backend did not start: %s", error)
        if give_up is not None:
            give_up(error)
        return
    status = {name: value for name, value in services.backend.status().items() if name in _STARTUP_STATUS}
    log.info("ready", extra=status | {"seconds": time.perf_counter() - started})
    while services.backend.ready:
        await asyncio.sleep(_WATCH_SECONDS)
    if not services.closing:
        log.error("the backend has stopped")
        if give_up is not None:  # the process ends; once it is started again, it finds all jobs in the queue
            give_up(EngineClosed("the backend has stopped"))


async def drain(services: Services) -> None:
    """Let running jobs end, and put the others back into the queue. Further calls wait for the same end."""
    services.closing = True
    if services.drained is None:
        services.drained = asyncio.ensure_future(services.jobs.close(services.settings.drain_seconds))
    await asyncio.shield(services.drained)
