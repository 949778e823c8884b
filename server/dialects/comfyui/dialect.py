"""The ComfyUI dialect as the server sees it.

It does not have nodes beyond those of ``engine.formats.comfyui``, or the editor with its users, settings and files.
Pictures' names begin as ``filename_prefix`` says, and go on with a part that cannot be guessed.
"""

from __future__ import annotations

import re

from fastapi import APIRouter, WebSocket

from server.dialects.comfyui import (
    jobs_routes,
    prompt_routes,
    queue_routes,
    system_routes,
    upload_routes,
    view_routes,
)
from server.dialects.comfyui.broadcast import Broadcast
from server.dialects.comfyui.errors import error_response
from server.dialects.comfyui.png_texts import png_texts
from server.dialects.dialect import Dialect
from server.web.services import Services

_PATHS = re.compile(
    r"(/api)?/(prompt|queue|history|interrupt|free|view|ws|upload|object_info|system_stats|embeddings|extensions|features"
    r"|models|experiment/models|view_metadata)(/.*)?"
    r"|/api/(jobs|i18n|workflow_templates|global_subgraphs|settings|userdata)(/.*)?"
)


def owns(path: str) -> bool:
    """Own ComfyUI's paths, with ``/api`` before them or not."""
    return _PATHS.fullmatch(path) is not None


def create_router(services: Services) -> APIRouter:
    """Make ComfyUI's routes and, left out of the OpenAPI document, the same routes below ``/api``."""
    broadcast = Broadcast(services)
    router = APIRouter()
    for prefix, shown in (("", True), ("/api", False)):
        part = APIRouter(prefix=prefix, include_in_schema=shown, tags=["ComfyUI"])
        _add_routes(part, services, broadcast)
        router.routes += part.routes  # one flat list: each request would search a nested router several times
    jobs = APIRouter(prefix="/api", tags=["ComfyUI"])
    jobs_routes.add(jobs, services)
    system_routes.add_editor(jobs)
    router.routes += jobs.routes
    return router


def _add_routes(router: APIRouter, services: Services, broadcast: Broadcast) -> None:
    prompt_routes.add(router, services, broadcast)
    queue_routes.add(router, services)
    upload_routes.add(router, services)
    view_routes.add(router, services)
    system_routes.add(router, services)

    @router.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await broadcast.serve(websocket)


DIALECT = Dialect(
    name="comfyui",
    create_router=create_router,
    owns=owns,
    error_response=error_response,
    public_paths=frozenset({"/view", "/api/view"}),
    png_texts=png_texts,
)
