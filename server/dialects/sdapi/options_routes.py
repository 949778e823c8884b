"""``GET`` and ``POST /sdapi/v1/options``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from server.dialects.sdapi.options import Options
from server.dialects.shared.bodies import json_body, json_object
from server.web.routing import direct


def add_options(router: APIRouter, options: Options) -> None:
    """Add the routes that read and change ``options``."""

    @router.get("/sdapi/v1/options", summary="The settings that are known")
    async def get_options() -> dict[str, Any]:
        return options.shown()

    summary = "Set the checkpoint and the CLIP skip of calls that name none"
    described = json_body({"type": "object"}, example={"sd_model_checkpoint": "starter"})

    @direct(router, "POST", "/sdapi/v1/options", summary=summary, openapi_extra=described)
    async def set_options(http: Request) -> JSONResponse:
        await options.change(await json_object(http))
        return JSONResponse(None)
