"""Serves what clients ask about the server: nodes, checkpoints, the machine. And it unloads checkpoints."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from engine import __version__
from engine.models.folders import KINDS
from server.backends.checkpoints import FileInfo
from server.dialects.comfyui import object_info
from server.dialects.comfyui.bodies import done, flag, json_object
from server.dialects.comfyui.sockets import FEATURES
from server.dialects.shared.bodies import json_body
from server.problems import not_found
from server.web.routing import direct
from server.web.services import Services

_FOLDERS = (
    *("checkpoints", "loras", "vae", "text_encoders", "clip", "diffusion_models", "unet", "clip_vision"),
    *("controlnet", "embeddings", "hypernetworks", "style_models", "upscale_models"),
)
"""The folders that clients look into; those of kinds that the engine does not work with are empty."""

_SHOWN = 200
"""The most characters of a file's name that an answer repeats."""

_FREE = {
    "type": "object",
    "properties": {"unload_models": {"type": "boolean"}, "free_memory": {"type": "boolean"}},
}


def add(router: APIRouter, services: Services) -> None:
    _add_nodes(router, services)
    _add_models(router, services)
    _add_machine(router, services)


def _add_nodes(router: APIRouter, services: Services) -> None:
    @router.get("/object_info")
    async def get_object_info(http: Request) -> JSONResponse:
        """Every node with its inputs, their ranges and choices."""
        services.backend.refresh()
        offer = await object_info.offer_of(services, services.client_of(http))
        return JSONResponse(object_info.all_nodes(offer))

    @router.get("/object_info/{node_class}")
    async def get_object_info_of(http: Request, node_class: str) -> JSONResponse:
        """One node; empty where there is none of that class."""
        services.backend.refresh()
        found = object_info.node(node_class, await object_info.offer_of(services, services.client_of(http)))
        return JSONResponse({} if found is None else {node_class: found})


def _add_models(router: APIRouter, services: Services) -> None:
    def files(folder: str) -> list[FileInfo]:
        if folder not in _FOLDERS:
            raise not_found("models folder", folder)
        services.backend.refresh()
        return [file for kind in KINDS if kind == folder for file in services.backend.files(kind)]

    @router.get("/models")
    async def get_model_folders() -> JSONResponse:
        """The folders of models that clients may ask for."""
        return JSONResponse(list(_FOLDERS))

    @router.get("/models/{folder}")
    async def get_models(folder: str) -> JSONResponse:
        """What lies in a folder."""
        return JSONResponse([file.name for file in files(folder)])

    @router.get("/view_metadata/{folder}")
    async def get_metadata(folder: str, filename: str = "") -> JSONResponse:
        """What training programs have written into the header of a safetensors file. 404 where there is nothing."""
        if filename not in (file.name for file in files(folder)) or not filename.endswith(".safetensors"):
            raise not_found("safetensors file", filename[:_SHOWN])
        (kind,) = (kind for kind in KINDS if kind == folder)
        metadata = await asyncio.to_thread(services.backend.metadata, kind, filename)
        if not metadata:
            raise not_found("metadata in", filename[:_SHOWN])
        return JSONResponse(dict(metadata))

    @router.get("/experiment/models")
    async def get_experimental_folders() -> JSONResponse:
        """The same folders, for clients of the newer form. Their places are never shown."""
        return JSONResponse([{"name": folder, "folders": []} for folder in _FOLDERS])

    @router.get("/experiment/models/{folder}")
    async def get_experimental_models(folder: str) -> JSONResponse:
        """What lies in a folder, with its size."""
        return JSONResponse([{"name": file.name, "pathIndex": 0, "size": file.size} for file in files(folder)])

    @router.get("/embeddings")
    async def get_embeddings() -> JSONResponse:
        """The embeddings that prompts may name, without their suffixes."""
        return JSONResponse([os.path.splitext(file.name)[0] for file in files("embeddings")])


def _add_machine(router: APIRouter, services: Services) -> None:
    @router.get("/extensions")
    async def get_extensions() -> JSONResponse:
        """None."""
        return JSONResponse([])

    @router.get("/features")
    async def get_features() -> JSONResponse:
        """What this server can do beyond what all clients know."""
        return JSONResponse({**FEATURES, "max_upload_size": services.settings.max_input_bytes})

    @router.get("/system_stats")
    async def get_system_stats() -> JSONResponse:
        """The machine and its device."""
        return JSONResponse(_system_stats(services.backend.status()))

    @direct(router, "POST", "/free", openapi_extra=json_body(_FREE, required=False, example={"unload_models": True}))
    async def free(http: Request) -> JSONResponse:
        """Unload the resident checkpoints; they are loaded again when a prompt needs them."""
        body = await json_object(http)
        unload, memory = flag(body, "unload_models"), flag(body, "free_memory")
        for model in services.backend.models() if unload or memory else []:
            if model.resident:
                await services.backend.unload(model.name)
        return done()


def add_editor(router: APIRouter) -> None:
    """Add what ComfyUI's own front end asks for when it starts, and would take an error for an answer to.

    Nothing of it is kept here: workflows, settings and templates are the front end's own.
    """

    async def get_nothing() -> JSONResponse:
        """Nothing."""
        return JSONResponse({})

    async def get_no_files() -> JSONResponse:
        """No files."""
        return JSONResponse([])

    for name in ("i18n", "workflow_templates", "global_subgraphs", "settings"):
        router.add_api_route(f"/{name}", get_nothing, methods=["GET"], include_in_schema=False)
    router.add_api_route("/userdata", get_no_files, methods=["GET"], include_in_schema=False)


def _system_stats(status: dict[str, Any]) -> dict[str, Any]:
    memory = psutil.virtual_memory()
    device = str(status.get("device", "cpu"))  # such as "cuda:0 (NVIDIA H200)"
    kind, _, index = device.partition(" ")[0].partition(":")
    total, free = status.get("memory_total") or 0, status.get("memory_free") or 0
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "none"
    return {
        "system": {
            "os": sys.platform,
            "ram_total": memory.total,
            "ram_free": memory.available,
            "comfyui_version": __version__,
            "python_version": platform.python_version(),
            "pytorch_version": torch,
            "embedded_python": False,
            "argv": [],
        },
        "devices": [
            {
                "name": device,
                "type": kind,
                "index": int(index) if index.isdigit() else 0,
                "vram_total": total,
                "vram_free": free,
                "torch_vram_total": total,
                "torch_vram_free": free,
            }
        ],
    }
