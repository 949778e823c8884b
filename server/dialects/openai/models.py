"""``GET /v1/models`` and ``/v1/models/{id}``: the checkpoints in the models folder."""

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
        """The checkpoints that requests may name, the default first."""
        return JSONResponse({"object": "list", "data": [_model(info) for info in services.backend.models()]})

    @router.get("/models/{id}", responses={200: {"model": OpenAIModel}, **errors(401, 403, 404)}, response_model=None)
    async def get_model(id: str) -> JSONResponse:
        """One checkpoint."""
        known = {info.name: info for info in services.backend.models()}
        if id not in known:
            raise UnknownCheckpoint("model", id, f"one of {', '.join(known)}")
        return JSONResponse(_model(known[id]))


def _model(info: ModelInfo) -> dict[str, Any]:
    try:
        created = int(Path(info.path).stat().st_mtime)
    except (OSError, ValueError):
        created = 0
    return {"id": info.name, "object": "model", "created": created, "owned_by": "local"}
