"""The server's state for machines: whether it is alive, whether it is ready, and its metrics."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from server.observing.metrics import Metrics, Now
from server.store import Search
from server.web.services import Services


def create_router(services: Services, metrics: Metrics) -> APIRouter:
    """Make ``/healthz``, ``/readyz`` and ``/metrics``."""
    router = APIRouter(tags=["Operation"])

    @router.get("/healthz", response_class=PlainTextResponse, summary="Say whether the process answers")
    async def healthz() -> str:
        return "ok\n"

    @router.get(
        "/readyz",
        responses={200: {"model": dict[str, str]}, 503: {"model": dict[str, str]}},
        response_model=None,
        summary="Say whether the server is ready for requests",
    )
    async def readyz() -> JSONResponse:
        """Answers 503 while the checkpoint loads, while the server shuts down, and while its database or its outputs
        folder fails."""
        reason = await _unready(services)
        return JSONResponse({"status": reason or "ready"}, 503 if reason else 200, {"Cache-Control": "no-store"})

    @router.get("/metrics", response_class=PlainTextResponse, summary="Metrics for Prometheus")
    async def page() -> Response:
        ready = services.backend.ready and not services.closing
        counts = (await services.jobs.find(Search(states=("queued", "running"), limit=0))).counts
        now = Now(ready=ready, counts=counts, status=services.backend.status())
        return Response(metrics.page(now), media_type=CONTENT_TYPE_LATEST)

    return router


async def _unready(services: Services) -> str | None:
    if services.closing:
        return "shutting down"
    if not services.backend.ready:
        return "loading"
    try:
        await services.jobs.find(Search(states={"queued"}, limit=0))
    except Exception:  # of any kind: the caller asks whether the server works, and the log says why not
        return "the database fails"
    return None if await services.outputs.writable() else "the outputs cannot be written"
