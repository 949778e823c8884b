"""The lists that AUTOMATIC1111's clients ask for at their start: samplers, schedulers, models, memory; and the lists of
what this server does not have, which are empty."""

from __future__ import annotations

from typing import Any

import psutil
from fastapi import APIRouter

from engine.formats.infotext import SAMPLER_LABELS, SCHEDULER_LABELS, automatic_scheduler
from engine.formats.infotext.a1111_labels import A1111_SCHEDULE_LABELS, a1111_label
from engine.sampling.a1111.samplers import OWN_SAMPLERS, rule_of
from server.dialects.sdapi.models import listed
from server.dialects.sdapi.options import Options
from server.dialects.sdapi.refusing import CONTROLNET
from server.problems import Problem
from server.web.services import Services

_EMPTY = (
    "hypernetworks",
    "face-restorers",
    "realesrgan-models",
    "prompt-styles",
    "script-info",
    "extensions",
)
_MISSING = (
    "interrogate",
    "create/embedding",
    "create/hypernetwork",
    "train/embedding",
    "train/hypernetwork",
)


def add_listings(router: APIRouter, services: Services) -> None:
    """Add the routes that list."""

    @router.get("/sdapi/v1/samplers", summary="The samplers, by AUTOMATIC1111's names")
    async def samplers() -> list[dict[str, Any]]:
        return _samplers(services.settings.sdapi_pictures)

    @router.get("/sdapi/v1/schedulers", summary="The schedulers, by AUTOMATIC1111's names")
    async def schedulers() -> list[dict[str, Any]]:
        own = {"automatic": "Automatic", "uniform": "Uniform", **SCHEDULER_LABELS}
        labels = A1111_SCHEDULE_LABELS if services.settings.sdapi_pictures == "a1111" else own
        return [_scheduler(name, label) for name, label in labels.items()]

    @router.get("/sdapi/v1/sd-models", summary="The checkpoints in the models folder")
    async def sd_models() -> list[dict[str, Any]]:
        return [listed(info) for info in services.backend.models()]

    @router.get("/sdapi/v1/scripts", summary="The scripts: ControlNet alone")
    async def scripts() -> dict[str, Any]:
        return {"txt2img": [CONTROLNET], "img2img": [CONTROLNET]}

    @router.get("/sdapi/v1/cmd-flags", summary="The command-line flags that matter to clients")
    async def cmd_flags() -> dict[str, Any]:
        return {"api": True, "nowebui": True, "api_auth": None}

    @router.get("/sdapi/v1/memory", summary="Memory in bytes")
    async def memory() -> dict[str, Any]:
        return {"ram": _ram(), "cuda": _cuda(services.backend.status())}

    for name in _EMPTY:
        router.add_api_route(f"/sdapi/v1/{name}", _nothing, methods=["GET"], summary="None")


def add_models(router: APIRouter, services: Services, options: Options) -> None:
    """Add the routes that load and unload models, and those that refuse what is not supported."""

    @router.post("/sdapi/v1/unload-checkpoint", summary="Unload the current checkpoint once no job uses it")
    async def unload_checkpoint() -> dict[str, Any]:
        info = options.current_model()
        if info is not None:
            await services.backend.unload(info.name)
        return {}

    @router.post("/sdapi/v1/reload-checkpoint", summary="Load the current checkpoint")
    async def reload_checkpoint() -> dict[str, Any]:
        info = options.current_model()
        if info is not None:
            await services.backend.load(info.name)
        return {}

    for name in _MISSING:
        router.add_api_route(f"/sdapi/v1/{name}", _missing(name), methods=["POST"], summary="Not supported")


async def _nothing() -> list[Any]:
    return []


def _missing(name: str) -> Any:
    async def refuse() -> None:
        raise Problem(
            status=400,
            kind="unsupported",
            title="Not supported",
            detail=f"{name} is not supported: use /sdapi/v1/txt2img or /sdapi/v1/img2img",
        )

    return refuse


def _samplers(program: str) -> list[dict[str, Any]]:
    """List the samplers that the routes take where the picture is ``program``'s, each with its own schedule."""
    if program == "a1111":
        names = dict.fromkeys((*SAMPLER_LABELS, *OWN_SAMPLERS))
        found = [(name, a1111_label(name), rule_of(name).schedule) for name in names]
    else:
        found = [(name, label, automatic_scheduler(name)) for name, label in SAMPLER_LABELS.items()]
    return [{"name": label, "aliases": [name], "options": {"scheduler": schedule}} for name, label, schedule in found]


def _scheduler(name: str, label: str) -> dict[str, Any]:
    return {"name": name, "label": label, "aliases": None, "default_rho": None, "need_inner_model": False}


def _ram() -> dict[str, int]:
    memory = psutil.virtual_memory()
    return {"free": memory.available, "used": memory.total - memory.available, "total": memory.total}


def _cuda(status: dict[str, Any]) -> dict[str, Any]:
    free, total = status.get("memory_free"), status.get("memory_total")
    if not str(status.get("device", "")).startswith("cuda") or free is None or total is None:
        return {"error": "unavailable"}
    return {"system": {"free": free, "used": total - free, "total": total}}
