"""``GET /v1/models`` and ``/v1/models/{id}``: the checkpoints in the models folder, and the aliases of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from engine import UnknownCheckpoint
from server.backends.checkpoints import ModelInfo
from server.dialects.openai.errors import errors
from server.web.services import Services


class OpenAIModel(BaseModel):
    """A checkpoint."""

    id: str
    object: Literal["model"]
    created: int = Field(description="when its file was last changed, in Unix time")
    owned_by: str


class OpenAIModels(BaseModel):
    """All checkpoints."""

    object: Literal["list"]
    data: list[OpenAIModel]


def add_routes(router: APIRouter, services: Services) -> None:
    """Add them to ``router``."""

    @router.get("/models", responses={200: {"model": OpenAIModels}, **errors(401, 403)}, response_model=None)
    async def list_models() -> JSONResponse:
        """The checkpoints that requests may name, the default first, then their aliases."""
        return JSONResponse({"object": "list", "data": list(_models(services).values())})

    @router.get("/models/{id}", responses={200: {"model": OpenAIModel}, **errors(401, 403, 404)}, response_model=None)
    async def get_model(id: str) -> JSONResponse:
        """One checkpoint."""
        known = _models(services)
        if id not in known:
            raise UnknownCheckpoint("model", id, f"one of {', '.join(known)}")
        return JSONResponse(known[id])


def _models(services: Services) -> dict[str, dict[str, Any]]:
    """Return the entries by id: each checkpoint's, and those of the aliases that stand for one that is there."""
    infos = {info.name: info for info in services.backend.models()}
    aliases = services.settings.model_aliases
    named = {**{alias: infos[name] for alias, name in aliases.items() if name in infos}, **infos}
    order = [*infos, *(alias for alias in named if alias not in infos)]
    return {id: _model(id, named[id]) for id in order}


def _model(id: str, info: ModelInfo) -> dict[str, Any]:
    try:
        created = int(Path(info.path).stat().st_mtime)
    except (OSError, ValueError):
        created = 0
    return {"id": id, "object": "model", "created": created, "owned_by": "local"}
