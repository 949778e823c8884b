"""What a browser shows: the page, and the API's reference at ``/docs``. Both load nothing from elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from server.web.routing import Handler

PAGE = Path(__file__).parent.parent / "page"
_SWAGGER_UI = ("swagger-ui-bundle.js", "swagger-ui.css")
"""The files of Swagger UI, which the package fastapi-offline brings along."""
_DESCRIPTION = "{{description}}"
"""The mark in the page in place of which it carries the description of its form."""


def page_paths() -> frozenset[str]:
    """List the paths of all files that ``add_pages`` serves."""
    return frozenset(_files())


def add_pages(app: FastAPI, description: Mapping[str, Any]) -> None:
    """Serve the page, which carries ``description`` as JSON, and the API's reference."""
    for path, file in _files().items():
        serve = _serving_index(file, description) if file.name == "index.html" else _serving(file)
        app.add_route(path, serve, include_in_schema=False)


def _files() -> Mapping[str, Path]:
    """Each path and the file that it serves."""
    own = {"/" + file.relative_to(PAGE).as_posix(): file for file in PAGE.rglob("*") if file.is_file()}
    swagger_ui = Path(str(files("fastapi_offline"))) / "static"
    return {
        **own,
        "/": PAGE / "index.html",
        "/docs": PAGE / "docs.html",
        **{f"/docs/{name}": swagger_ui / name for name in _SWAGGER_UI},
    }


def _serving_index(file: Path, description: Mapping[str, Any]) -> Handler:
    written = json.dumps(description, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    content = file.read_text(encoding="utf-8").replace(_DESCRIPTION, written).encode()
    headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"', "Cache-Control": "no-cache"}

    async def serve(request: Request) -> Response:
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, 200, headers, "text/html; charset=utf-8")

    return serve


def _serving(file: Path) -> Handler:
    folder = StaticFiles(directory=file.parent)

    async def serve(request: Request) -> Response:
        response = await folder.get_response(file.name, request.scope)
        response.headers["Cache-Control"] = "no-cache"  # browsers ask again each time, and get a 304
        return response

    return serve
