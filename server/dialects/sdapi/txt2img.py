"""``POST /sdapi/v1/txt2img``: one job with a request for each picture; picture i has ``seed + i``.

What would change a picture and is not supported (hires fix, scripts, styles, variations, tiling, prompt editing, LoRA,
img2img …) is refused by name with 422, in the form of FastAPI's validation errors; ``request``, ``prompt`` and
``options`` hold the rules.

The pictures are not those of AUTOMATIC1111 to the byte: by default it draws noise on the GPU, and it restores the mean
of prompts with weights. There are no grids. ``options`` are kept in memory, for all callers of this dialect.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from server.dialects.sdapi.answer import answer_of, json_response
from server.dialects.sdapi.body import Txt2Img
from server.dialects.sdapi.calls import Calls
from server.dialects.sdapi.options import Options
from server.dialects.sdapi.request import requests_of
from server.dialects.shared.bodies import body_as, json_body
from server.dialects.shared.headers import JOB_HEADERS, chosen_job_id, idempotency_key
from server.job import Job, NewJob
from server.problems import Problem, problem_of_failure
from server.web.routing import direct
from server.web.services import Services


def add_txt2img(router: APIRouter, services: Services, options: Options, calls: Calls) -> None:
    """Add the route."""
    described = {**json_body(Txt2Img.model_json_schema()), "parameters": JOB_HEADERS}
    summary = "Make pictures from text, and wait for them"

    @direct(router, "POST", "/sdapi/v1/txt2img", summary=summary, openapi_extra=described)
    async def txt2img(http: Request) -> Response:
        body = await body_as(Txt2Img, http)
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
        return json_response(await answer_of(job, body, services))


async def _new_job(
    services: Services, options: Options, override: tuple[str | None, int | None], http: Request, body: Txt2Img
) -> NewJob:
    key, id = idempotency_key(http), chosen_job_id(http)
    requests = await asyncio.to_thread(  # a prompt may be long
        requests_of,
        body,
        override=override,
        defaults=(options.model, options.clip_skip),
        most=services.settings.max_pictures,
    )
    extra = {"id_task": body.force_task_id} if body.force_task_id else {}
    return NewJob(
        wanted=requests,
        dialect="sdapi",
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
