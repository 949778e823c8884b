"""The checkpoints as Replicate's models, each with one version; and the account, which clients read at their start."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from engine import __version__
from server.backends.checkpoints import ModelInfo
from server.dialects.replicate.errors import errors
from server.dialects.replicate.input import OWNER, input_schema, model_of_path
from server.problems import not_found
from server.web.routing import direct
from server.web.services import Services

_COG = "0.3.9"
"""The first version of Replicate's Cog whose schemas state whether an output is streamed."""


class VersionAnswer(BaseModel):
    id: str
    created_at: str
    cog_version: str
    openapi_schema: dict[str, Any]


class VersionsAnswer(BaseModel):
    previous: None
    next: None
    results: list[VersionAnswer]


class ReplicateModel(BaseModel):
    url: str
    owner: str
    name: str
    description: str
    visibility: str
    github_url: None
    paper_url: None
    license_url: None
    run_count: int
    cover_image_url: None
    default_example: None
    latest_version: VersionAnswer


class AccountAnswer(BaseModel):
    type: str
    username: str
    name: str
    github_url: None


def add_routes(router: APIRouter, services: Services) -> None:
    """Add them to ``router``."""

    def found(owner: str, name: str) -> ModelInfo:
        return model_of_path(owner, name, services)

    @router.get(
        "/models/{owner}/{name}",
        responses={200: {"model": ReplicateModel}, **errors(401, 403, 404)},
        response_model=None,
    )
    async def get_model(http: Request, owner: str, name: str) -> JSONResponse:
        """A checkpoint, with the schema of its input."""
        return JSONResponse(_model(found(owner, name), services.access.base_url(http)))

    @router.get(
        "/models/{owner}/{name}/versions",
        responses={200: {"model": VersionsAnswer}, **errors(401, 403, 404)},
        response_model=None,
    )
    async def list_versions(owner: str, name: str) -> JSONResponse:
        """The one version of a checkpoint."""
        return JSONResponse(_page([_version(found(owner, name))]))

    @router.get(
        "/models/{owner}/{name}/versions/{id}",
        responses={200: {"model": VersionAnswer}, **errors(401, 403, 404)},
        response_model=None,
    )
    async def get_version(owner: str, name: str, id: str) -> JSONResponse:
        """A version by its id: the checkpoint's name or its SHA-256."""
        info = found(owner, name)
        if id not in (info.name, info.sha256):
            raise not_found(f"version of {owner}/{name}", id)
        return JSONResponse(_version(info))

    @direct(router, "GET", "/account", responses={200: {"model": AccountAnswer}, **errors(401, 403)})
    async def account(http: Request) -> JSONResponse:
        """The caller."""
        name = services.client_of(http)
        return JSONResponse({"type": "user", "username": name, "name": name, "github_url": None})


def add_list(router: APIRouter, services: Services) -> None:
    """Add the list of models to ``router``. It exists below ``/replicate`` alone: ``/v1/models`` is OpenAI's."""

    @direct(router, "GET", "/replicate/v1/models", responses=errors(401, 403))
    async def list_models(http: Request) -> JSONResponse:
        """The checkpoints that predictions may name, the default first."""
        base_url = services.access.base_url(http)
        return JSONResponse(_page([_model(info, base_url) for info in services.backend.models()]))


def _page(results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"previous": None, "next": None, "results": results}


def _model(info: ModelInfo, base_url: str) -> dict[str, Any]:
    return {
        "url": f"{base_url}/v1/models/{OWNER}/{info.name}",
        "owner": OWNER,
        "name": info.name,
        "description": f"Stable Diffusion 1.x checkpoint {info.file}",
        "visibility": "private",
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "run_count": 0,
        "cover_image_url": None,
        "default_example": None,
        "latest_version": _version(info),
    }


def _version(info: ModelInfo) -> dict[str, Any]:
    try:
        changed = Path(info.path).stat().st_mtime
    except (OSError, ValueError):
        changed = 0.0
    output = {"type": "array", "items": {"type": "string", "format": "uri"}, "title": "Output"}
    return {
        "id": info.name,
        "created_at": datetime.fromtimestamp(changed, timezone.utc).isoformat(),
        "cog_version": _COG,
        "openapi_schema": {
            "openapi": "3.1.0",
            "info": {"title": info.name, "version": __version__},
            "paths": {},
            "components": {"schemas": {"Input": input_schema(), "Output": output}},
        },
    }
