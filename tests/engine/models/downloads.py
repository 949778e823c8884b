"""What the tests of downloads have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.models.download import Patience, Source
from tests.web_server import Server

QUICK = Patience(timeout=0.3, tries=3, pause=0.01, longest_pause=0.05)


HTML = b"<!doctype html><title>Sign in</title>" + b" " * 2000


def source(server: Server, path: str = "/tiny.safetensors", **options: Any) -> Source:
    return Source(**{"url": server.url + path, "patience": QUICK} | options)


def ranges(server: Server) -> list[str | None]:
    return [request.get("range") for request in server.site.requests]


def only_file(target: Path) -> Path:
    (only,) = target.parent.iterdir()
    assert only == target
    return only


def nothing_in(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())
