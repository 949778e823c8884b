"""ComfyUI's HTTP and websocket API, with and without ``/api``: graphs → jobs, jobs → history and messages.

Not here: nodes beyond those of ``engine.formats.comfyui``; uploads, because no node here reads a picture; the editor
itself with its users, settings and files. Pictures' names are drawn, whatever ``filename_prefix`` says.
"""

from __future__ import annotations

import re

from fastapi import APIRouter, WebSocket

from server.dialects.comfyui import jobs_routes, prompt_routes, queue_routes, system_routes, view_routes
from server.dialects.comfyui.broadcast import Broadcast
from server.dialects.comfyui.errors import error_response
from server.web.routing import DirectRoute
from server.web.services import Services

__all__ = ["NAME", "create_router", "error_response", "owns"]

NAME = "comfyui"

_PATHS = re.compile(
    r"(/api)?/(prompt|queue|history|interrupt|free|view|ws|upload|object_info|system_stats|embeddings|extensions|features"
    r"|models|experiment/models)(/.*)?"
    r"|/api/jobs(/.*)?"
)


def owns(path: str) -> bool:
    """Whether errors on this path are worded by this dialect."""
    return _PATHS.fullmatch(path) is not None


def create_router(services: Services) -> APIRouter:
    broadcast = Broadcast(services)
    router = APIRouter(route_class=DirectRoute)
    for prefix, shown in (("", True), ("/api", False)):
        part = APIRouter(prefix=prefix, include_in_schema=shown, tags=["ComfyUI"], route_class=DirectRoute)
        _add_routes(part, services, broadcast)
        router.routes += part.routes  # flat: a router within a router is gone through several times for each request
    jobs = APIRouter(prefix="/api", tags=["ComfyUI"], route_class=DirectRoute)
    jobs_routes.add(jobs, services)
    router.routes += jobs.routes
    return router


def _add_routes(router: APIRouter, services: Services, broadcast: Broadcast) -> None:
    prompt_routes.add(router, services, broadcast)
    queue_routes.add(router, services)
    view_routes.add(router, services)
    system_routes.add(router, services)

    @router.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await broadcast.serve(websocket)
