"""What a browser shows: the page, and the API's reference at ``/docs``. Both load nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from server.web.routing import Handler

PAGE = Path(__file__).parent.parent / "page"
_SWAGGER_UI = ("swagger-ui-bundle.js", "swagger-ui.css")
"""The files of Swagger UI, which the package fastapi-offline brings along."""


def page_paths() -> frozenset[str]:
    """List the paths of all files that ``add_pages`` serves."""
    return frozenset(_files())


def add_pages(app: FastAPI) -> None:
    """Serve the page and the API's reference."""
    for path, file in _files().items():
        app.add_route(path, _serving(file), include_in_schema=False)


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


def _serving(file: Path) -> Handler:
    folder = StaticFiles(directory=file.parent)

    async def serve(request: Request) -> Response:
        response = await folder.get_response(file.name, request.scope)
        response.headers["Cache-Control"] = "no-cache"  # browsers ask again each time, and get a 304
        return response

    return serve
