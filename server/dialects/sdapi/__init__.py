"""AUTOMATIC1111's API, ``/sdapi/v1``: text to picture, progress, models, options.

``POST txt2img`` becomes one job with a request for each picture; picture i has ``seed + i``. What would change a
picture and is not supported (hires fix, scripts, styles, variations, tiling, prompt editing, LoRA, img2img …) is
refused by name with 422, in the form of FastAPI's validation errors; ``request``, ``prompt`` and ``options`` hold the
rules.

Pictures are not those of AUTOMATIC1111 to the byte: it draws noise on the GPU unless told otherwise, and restores the
mean of prompts with weights. There are no grids. ``options`` are kept in memory, for all callers of this dialect.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response

from server.dialects.sdapi.answer import answer_of
from server.dialects.sdapi.body import Txt2Img
from server.dialects.sdapi.calls import Calls
from server.dialects.sdapi.listings import add_listings, add_models
from server.dialects.sdapi.options import Options
from server.dialects.sdapi.png_info import add_png_info
from server.dialects.sdapi.progress import add_progress, add_stopping
from server.dialects.sdapi.request import requests_of
from server.dialects.shared.calls import HEADERS, chosen_id, idempotency_key
from server.job import Job, NewJob
from server.problems import Problem, problem_of_failure
from server.web.routing import DirectRoute
from server.web.services import Services

NAME = "sdapi"


def owns(path: str) -> bool:
    """Whether errors on this path are worded by this dialect."""
    return path.startswith(("/sdapi/", "/internal/"))


def error_response(problem: Problem) -> Response:
    """``problem`` as AUTOMATIC1111's clients read it: what the caller may mend as FastAPI's list, the rest as text."""
    mendable = problem.field is not None and problem.status in (400, 422)
    place = ["body", problem.field]
    detail: Any = [{"loc": place, "msg": problem.detail, "type": problem.kind}] if mendable else problem.detail
    status = 422 if mendable else problem.status
    response = _json({"error": problem.kind, "detail": detail, "body": "", "errors": problem.detail}, status)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="stable-diffusion"'  # what its clients have
    return response


def create_router(services: Services) -> APIRouter:
    """All routes of the dialect."""
    router = APIRouter(tags=["AUTOMATIC1111"], route_class=DirectRoute)
    options, calls = Options(services.backend), Calls(services.jobs)
    _add_txt2img(router, services, options, calls)
    _add_options(router, options)
    add_progress(router, services, calls)
    add_stopping(router, services, calls)
    add_listings(router, services)
    add_models(router, services, options)
    add_png_info(router)
    return router


def _add_txt2img(router: APIRouter, services: Services, options: Options, calls: Calls) -> None:
    headers = {"parameters": HEADERS}

    @router.post("/sdapi/v1/txt2img", summary="Make pictures from text, and wait for them", openapi_extra=headers)
    async def txt2img(http: Request, body: Txt2Img) -> Response:
        override = options.read(body.override_settings or {}, "override_settings.")
        job = await services.jobs.accept(await _new_job(services, options, override, http, body))
        if body.override_settings_restore_afterwards is False:
            options.keep(*override)
        async with calls.under_way(job, body.force_task_id):
            job = await services.wait_connected(http, job)
        if job.state == "failed" and job.failure is not None:
            raise problem_of_failure(job.failure)
        if job.state != "succeeded":
            raise _cancelled(job)
        return _json(await answer_of(job, body, services))


async def _new_job(
    services: Services, options: Options, override: tuple[str | None, int | None], http: Request, body: Txt2Img
) -> NewJob:
    key, id = idempotency_key(http), chosen_id(http)
    requests = await asyncio.to_thread(  # a prompt may be long
        requests_of,
        body,
        override=override,
        defaults=(options.model, options.clip_skip),
        most=services.settings.max_pictures,
    )
    extra = {"id_task": body.force_task_id} if body.force_task_id else {}
    return NewJob(
        requests=requests,
        dialect=NAME,
        client=services.client_of(http),
        id=id,
        idempotency_key=key,
        asked=[body.model_dump(), override],
        extra=extra,
    )


def _cancelled(job: Job) -> Problem:
    return Problem(
        status=409,
        kind="cancelled",
        title="Cancelled",
        detail=f"the job {job.id} was interrupted; what was done of its pictures is not kept",
    )


def _add_options(router: APIRouter, options: Options) -> None:
    @router.get("/sdapi/v1/options", summary="The settings that are known")
    async def get_options() -> dict[str, Any]:
        return options.shown()

    @router.post("/sdapi/v1/options", summary="Choose the checkpoint and the CLIP skip for calls that do not")
    async def set_options(
        settings: Annotated[dict[str, Any], Body(examples=[{"sd_model_checkpoint": "starter"}])],
    ) -> None:
        await options.change(settings)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    """``content`` as JSON, whatever a caller sent in: NaN becomes null, half a surrogate pair stays escaped."""
    text = json.dumps(content, default=str)
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(json.loads(text, parse_constant=lambda _: None))
    return Response(text, status, media_type="application/json")
