"""Checkpoints, samplers and schedulers by name, and how the server is."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from engine import GenerationRequest, __version__
from engine.request import SAMPLERS, SCHEDULERS
from server.backends.checkpoints import ModelInfo
from server.dialects.native.answers import CheckpointAnswer, CheckpointsAnswer, NamesAnswer, StatusAnswer
from server.dialects.native.describe import problems
from server.problems import not_found
from server.store import Search
from server.web.services import Services

_MODEL: dict[int | str, dict[str, Any]] = {
    200: {"model": CheckpointAnswer},
    **problems(400, 401, 403, 404, 422, 500, 503, 507),
}


def add_routes(router: APIRouter, services: Services) -> None:
    """Add them to ``router``."""

    def model(name: str) -> JSONResponse:
        named = {each.file: each for each in services.backend.models()}
        named |= {each.name: each for each in named.values()}
        found = named.get(name)
        if found is None:
            raise not_found("model", name)
        return JSONResponse(_told(found))

    @router.get("/models", responses={200: {"model": CheckpointsAnswer}, **problems(401, 403)}, response_model=None)
    async def list_models() -> JSONResponse:
        """The checkpoints in the models folder, the default first."""
        return JSONResponse({"models": [_told(each) for each in services.backend.models()]})

    @router.post("/models/{name}/load", responses=_MODEL, response_model=None)
    async def load_model(name: str) -> JSONResponse:
        """Have a checkpoint resident before anybody asks for it. Answers when it is."""
        await services.backend.load(name)
        return model(name)

    @router.post("/models/{name}/unload", responses=_MODEL, response_model=None)
    async def unload_model(name: str) -> JSONResponse:
        """Let a checkpoint go, once no job uses it."""
        await services.backend.unload(name)
        return model(name)

    names: dict[int | str, dict[str, Any]] = {200: {"model": NamesAnswer}, **problems(401, 403)}

    @router.get("/samplers", responses=names, response_model=None)
    async def list_samplers() -> JSONResponse:
        return JSONResponse({"names": list(SAMPLERS), "default": GenerationRequest.sampler})

    @router.get("/schedulers", responses=names, response_model=None)
    async def list_schedulers() -> JSONResponse:
        return JSONResponse({"names": list(SCHEDULERS), "default": GenerationRequest.scheduler})

    @router.get("/status", responses={200: {"model": StatusAnswer}, **problems(401, 403)}, response_model=None)
    async def status() -> JSONResponse:
        """How the server is: what it runs on, and how many jobs there are."""
        return JSONResponse(
            {
                "version": __version__,
                "ready": services.backend.ready and not services.closing,
                "counts": (await services.jobs.find(Search(limit=0))).counts,
                "dialects": ["native", *services.settings.dialects],
                "backend": services.backend.status(),
            }
        )


def _told(model: ModelInfo) -> dict[str, Any]:
    told = dataclasses.asdict(model)
    del told["path"]  # where files lie is nobody's business but the server's
    return told
