"""``GET`` and ``POST /sdapi/v1/options``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body

from server.dialects.sdapi.options import Options


def add_options(router: APIRouter, options: Options) -> None:
    """Add the routes that read and change ``options``."""

    @router.get("/sdapi/v1/options", summary="The settings that are known")
    async def get_options() -> dict[str, Any]:
        return options.shown()

    @router.post("/sdapi/v1/options", summary="Set the checkpoint and the CLIP skip of calls that name none")
    async def set_options(
        settings: Annotated[dict[str, Any], Body(examples=[{"sd_model_checkpoint": "starter"}])],
    ) -> None:
        await options.change(settings)
