"""``create_app(settings)``: the parts put together, their start and their end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from engine import EngineClosed, __version__
from server.backends.protocol import Backend
from server.dialects import comfyui, native, openai, replicate, sdapi
from server.dialects.huggingface import inference as huggingface
from server.observing.job_events import watcher
from server.observing.metrics import Metrics
from server.pictures.outputs import Outputs
from server.queue.jobs import Jobs
from server.settings import Settings
from server.web import probes
from server.web.access import Access
from server.web.errors import add_error_handlers, answer_with
from server.web.middleware import AccessMiddleware, Answer, BodyLimitMiddleware, HeadersMiddleware, HeadMiddleware
from server.web.openapi import document
from server.web.services import Services
from server.web.telemetry import TelemetryMiddleware

log = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "page"
_TOLD = ("model", "device", "dtype", "batching")
_LOOK_SECONDS = 1.0
_EXPOSED = (
    *("Content-Disposition", "Content-Location", "ETag", "Location", "Preference-Applied", "Retry-After"),
    *("X-Job-Id", "X-Request-Id", "X-Seed", "X-Should-Retry", "X-Total-Count"),
)
"""Headers of answers that pages of other origins may read."""


DIALECTS: tuple[Any, ...] = (comfyui, sdapi, openai, replicate, huggingface, native)
"""Whose words an error on a path is told in: the first that owns it; native owns what nobody else does."""


def create_app(settings: Settings, backend: Backend | None = None) -> FastAPI:
    """The whole server as an ASGI application. ``backend`` stands in for the one that the settings name."""
    page = {"/" + file.relative_to(PAGE).as_posix() for file in PAGE.rglob("*") if file.is_file()} | {"/"}
    metrics = Metrics()
    services = _services(settings, backend, page, metrics)
    dialects = [each for each in DIALECTS if each.NAME == "native" or each.NAME in settings.dialects]
    answer = answer_with(dialects)
    app = FastAPI(
        title="Stable Diffusion engine",
        version=__version__,
        lifespan=running,
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services, app.state.give_up = services, None
    others, own = [each.create_router(services) for each in dialects[:-1]], native.create_router(services)
    _add_routes(app, [probes.create_router(services, metrics), own, *others])
    for path in page:
        app.add_route(path, _page_file(path), include_in_schema=False)
    add_error_handlers(app, answer)
    _add_middleware(app, services, metrics, answer)
    described = functools.cache(lambda: document(app, services))
    app.openapi = described  # type: ignore[method-assign]
    return app


def _add_routes(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """One flat list, which each request goes through until a route fits; ``include_router`` would try each of them
    twice and more."""
    for router in routers:
        app.router.routes += router.routes


def _add_middleware(app: FastAPI, services: Services, metrics: Metrics, answer: Answer) -> None:
    """From the innermost to the outermost: the one added last sees a request first."""
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
            expose_headers=_EXPOSED,
        )
    app.add_middleware(HeadMiddleware)
    app.add_middleware(TelemetryMiddleware, metrics=metrics, answer=answer)


def _services(settings: Settings, backend: Backend | None, page: set[str], metrics: Metrics) -> Services:
    if backend is None:
        backend = _backend(settings)
    outputs = Outputs(settings.outputs)
    bodies = {each.NAME: each.webhook_body for each in DIALECTS if hasattr(each, "webhook_body")}
    return Services(
        settings=settings,
        jobs=Jobs(settings, backend, outputs, bodies, watch=watcher(metrics)),
        backend=backend,
        outputs=outputs,
        access=Access(settings, page),
    )


def _backend(settings: Settings) -> Backend:
    if settings.backend == "instant":
        from server.backends.instant import InstantBackend

        return InstantBackend(step_seconds=settings.instant_step_seconds)
    from server.backends.engine import EngineBackend  # imports torch

    return EngineBackend(settings)


@contextlib.asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    """Everything behind the routes, from start to end.

    The server listens while the checkpoint loads: jobs are accepted meanwhile, and /readyz says 503. Raises what
    ``Jobs.start`` raises; where the backend does not start, or stops by itself, ``app.state.give_up`` is told.
    """
    services: Services = app.state.services
    await services.jobs.start()
    seeing = asyncio.create_task(_see_to_backend(services, app.state.give_up))
    try:
        yield
    finally:
        await drain(services)
        seeing.cancel()
        await asyncio.gather(seeing, return_exceptions=True)
        await services.backend.close()


async def _see_to_backend(services: Services, give_up: Callable[[Exception], None] | None) -> None:
    """Start it, and look whether it still runs."""
    begun = time.perf_counter()
    try:
        await services.backend.start()
    except Exception as error:
        log.error("the backend did not start: %s", error)
        if give_up is not None:
            give_up(error)
        return
    status = {name: value for name, value in services.backend.status().items() if name in _TOLD}
    log.info("ready", extra=status | {"seconds": time.perf_counter() - begun})
    while services.backend.ready:
        await asyncio.sleep(_LOOK_SECONDS)
    if not services.closing:
        log.error("the backend has stopped")
        if give_up is not None:  # the process ends; when it is started again, all jobs are in the queue
            give_up(EngineClosed("the backend has stopped"))


async def drain(services: Services) -> None:
    """Let running jobs end, and put the others back into the queue. Who calls it again waits for the same."""
    services.closing = True
    if services.drained is None:
        services.drained = asyncio.ensure_future(services.jobs.close(services.settings.drain_seconds))
    await asyncio.shield(services.drained)


def _page_file(path: str) -> Callable[[Request], Any]:
    files = StaticFiles(directory=PAGE)
    name = path.removeprefix("/") or "index.html"

    async def serve(request: Request) -> Response:
        response = await files.get_response(name, request.scope)
        response.headers["Cache-Control"] = "no-cache"  # it is asked for again each time, and answered with 304
        return response

    return serve
