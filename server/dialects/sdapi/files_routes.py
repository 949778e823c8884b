"""The lists of files in the models folders: VAEs, LoRAs, embeddings, upscalers, ControlNets. Names, never paths."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter

from engine.tensors.kinds import FileKind
from server.backends.checkpoints import FileInfo
from server.dialects.sdapi.files import basename, stem
from server.dialects.sdapi.hires import LATENT_UPSCALERS
from server.dialects.sdapi.modules import MODULES, Module
from server.dialects.sdapi.upscalers import KERNELS
from server.web.services import Services

_REFRESHES = ("refresh-checkpoints", "refresh-vae", "refresh-loras", "refresh-embeddings")
_CONTROLNET_VERSION = 3
"""Of the extension's API."""


def add_files(router: APIRouter, services: Services) -> None:
    """Add the routes that list files, and those that have the folders read again."""

    async def files(kind: FileKind) -> list[FileInfo]:
        return await asyncio.to_thread(services.backend.files, kind)

    @router.get("/sdapi/v1/sd-vae", summary="The VAEs in the models folders")
    async def sd_vae() -> list[dict[str, Any]]:
        return [{"model_name": basename(file.name), "filename": file.name} for file in await files("vae")]

    @router.get("/sdapi/v1/loras", summary="The LoRAs in the models folders")
    async def loras() -> list[dict[str, Any]]:
        found = await files("loras")
        return [
            {"name": stem(each.name), "alias": each.alias or stem(each.name), "path": each.name, "metadata": {}}
            for each in found
        ]

    @router.get("/sdapi/v1/embeddings", summary="The embeddings in the models folders")
    async def embeddings() -> dict[str, Any]:
        unknown = dict.fromkeys(("step", "sd_checkpoint", "sd_checkpoint_name", "shape", "vectors"))
        return {"loaded": {stem(file.name): unknown for file in await files("embeddings")}, "skipped": {}}

    @router.get("/sdapi/v1/upscalers", summary="The upscalers of pictures")
    async def upscalers() -> list[dict[str, Any]]:
        plain = [_upscaler(name, 1 if name == "None" else 4) for name in KERNELS]
        return plain + [_upscaler(stem(file.name), 4) for file in await files("upscale_models")]

    @router.get("/sdapi/v1/latent-upscale-modes", summary="The upscalers of latents, for a second pass")
    async def latent_upscale_modes() -> list[dict[str, Any]]:
        return [{"name": name} for name in LATENT_UPSCALERS]

    for name in _REFRESHES:
        summary = "Have the models folders read again"
        router.add_api_route(f"/sdapi/v1/{name}", _refreshing(services), methods=["POST"], summary=summary)
    _add_controlnet(router, services)


def _add_controlnet(router: APIRouter, services: Services) -> None:
    async def models() -> list[str]:
        return [stem(file.name) for file in await asyncio.to_thread(services.backend.files, "controlnet")]

    @router.get("/controlnet/version", summary="The version of ControlNet's API")
    async def version() -> dict[str, Any]:
        return {"version": _CONTROLNET_VERSION}

    @router.get("/controlnet/model_list", summary="The ControlNets in the models folders")
    async def model_list(update: bool = True) -> dict[str, Any]:
        return {"model_list": await models()}

    @router.get("/controlnet/module_list", summary="ControlNet's modules that are carried out")
    async def module_list(alias_names: bool = False) -> dict[str, Any]:
        names = {name: (module.label or name) if alias_names else name for name, module in MODULES.items()}
        details = {shown: _described(MODULES[name]) for name, shown in names.items()}
        return {"module_list": list(details), "module_detail": details}

    @router.get("/controlnet/control_types", summary="ControlNet's modules and models by what they are for")
    async def control_types() -> dict[str, Any]:
        named = {
            "module_list": [module.label or name for name, module in MODULES.items()],
            "model_list": ["None", *await models()],
        }
        return {"control_types": {"All": {**named, "default_option": "none", "default_model": "None"}}}


def _described(module: Module) -> dict[str, Any]:
    resolution = {"name": "Resolution", "value": 512, "min": 64, "max": 2048, "step": 8}
    sliders = [
        {"name": each.label, "value": each.default, "min": each.least, "max": each.most, "step": each.step}
        for each in module.sliders
    ]
    return {"model_free": False, "sliders": [resolution, *sliders]}


def _refreshing(services: Services) -> Any:
    async def refresh() -> None:
        services.backend.refresh()

    return refresh


def _upscaler(name: str, scale: int) -> dict[str, Any]:
    return {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": scale}
