"""The names of checkpoints, samplers and schedulers, and the server's state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from engine import GenerationRequest, __version__
from engine.request import SAMPLERS, SCHEDULERS
from engine.tensors.kinds import FileKind
from server.backends.checkpoints import ModelInfo
from server.dialects.native.answers import CheckpointAnswer, CheckpointsAnswer, NamesAnswer, StatusAnswer
from server.dialects.native.describe import problems
from server.problems import not_found
from server.store import Search
from server.web.services import Services

ModelKind = Literal["checkpoint", "lora", "vae", "controlnet", "embedding", "upscaler"]

_KINDS: Mapping[ModelKind, FileKind] = {
    "lora": "loras",
    "vae": "vae",
    "controlnet": "controlnet",
    "embedding": "embeddings",
    "upscaler": "upscale_models",
}
"""The kinds of files beside checkpoints, and what the models folders call them."""

_MODEL: dict[int | str, dict[str, Any]] = {
    200: {"model": CheckpointAnswer},
    **problems(400, 401, 403, 404, 422, 500, 503, 507),
}


def add_routes(router: APIRouter, services: Services) -> None:
    """Add them to ``router``."""
    _add_models(router, services)
    _add_lists(router, services)


def _add_models(router: APIRouter, services: Services) -> None:
    def model(name: str) -> JSONResponse:
        named = {each.file: each for each in services.backend.models()}
        named |= {each.name: each for each in named.values()}
        found = named.get(name)
        if found is None:
            raise not_found("model", name)
        return JSONResponse(_described(found))

    @router.get(
        "/models", responses={200: {"model": CheckpointsAnswer}, **problems(400, 401, 403)}, response_model=None
    )
    async def list_models(
        kind: Annotated[ModelKind, Query(description="which files to list")] = "checkpoint",
    ) -> JSONResponse:
        """The files of a kind in the models folders: checkpoints, the default first, or what else a request names."""
        if kind == "checkpoint":
            return JSONResponse({"models": [_described(each) for each in services.backend.models()]})
        files = services.backend.files(_KINDS[kind])
        return JSONResponse({"models": [{"name": each.name, "size": each.size} for each in files]})

    @router.post("/models/{name:path}/load", responses=_MODEL, response_model=None)
    async def load_model(name: str) -> JSONResponse:
        """Load a checkpoint before a request needs it. Answers once it is loaded."""
        await services.backend.load(name)
        return model(name)

    @router.post("/models/{name:path}/unload", responses=_MODEL, response_model=None)
    async def unload_model(name: str) -> JSONResponse:
        """Unload a checkpoint once no job uses it."""
        await services.backend.unload(name)
        return model(name)


def _add_lists(router: APIRouter, services: Services) -> None:
    names: dict[int | str, dict[str, Any]] = {200: {"model": NamesAnswer}, **problems(401, 403)}

    @router.get("/samplers", responses=names, response_model=None)
    async def list_samplers() -> JSONResponse:
        return JSONResponse({"names": list(SAMPLERS), "default": GenerationRequest.sampler})

    @router.get("/schedulers", responses=names, response_model=None)
    async def list_schedulers() -> JSONResponse:
        return JSONResponse({"names": list(SCHEDULERS), "default": GenerationRequest.scheduler})

    @router.get("/status", responses={200: {"model": StatusAnswer}, **problems(401, 403)}, response_model=None)
    async def status() -> JSONResponse:
        """The server's state: what it runs on, and how many jobs there are."""
        return JSONResponse(
            {
                "version": __version__,
                "ready": services.backend.ready and not services.closing,
                "counts": (await services.jobs.find(Search(limit=0))).counts,
                "dialects": ["native", *services.settings.dialects],
                "backend": services.backend.status(),
            }
        )


def _described(model: ModelInfo) -> dict[str, Any]:
    described = dataclasses.asdict(model)
    del described["path"]  # the server does not reveal its paths
    return described
