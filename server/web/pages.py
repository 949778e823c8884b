"""The browser's page: its files, each at a path of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

PAGE = Path(__file__).parent.parent / "page"


def page_paths() -> frozenset[str]:
    """List the paths of the page and its files."""
    return frozenset({"/" + file.relative_to(PAGE).as_posix() for file in PAGE.rglob("*") if file.is_file()} | {"/"})


def add_page(app: FastAPI) -> None:
    """Serve each of ``page_paths``."""
    for path in page_paths():
        app.add_route(path, _file(path), include_in_schema=False)


def _file(path: str) -> Callable[[Request], Any]:
    files = StaticFiles(directory=PAGE)
    name = path.removeprefix("/") or "index.html"

    async def serve(request: Request) -> Response:
        response = await files.get_response(name, request.scope)
        response.headers["Cache-Control"] = "no-cache"  # browsers ask again each time, and get a 304
        return response

    return serve
