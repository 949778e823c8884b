"""``POST /sdapi/v1/txt2img`` and ``img2img``: one job with a task for each picture; picture i has ``seed + i``.

What would change a picture and is not supported is refused by name with 422, in the form of FastAPI's validation
errors; ``refusing``, ``prompt``, ``options`` and ``controlnet`` hold the rules.

The pictures are not those of AUTOMATIC1111 to the byte: by default it draws noise on the GPU, and it restores the mean
of prompts with weights. Of ``steps``, ``img2img`` runs as many as there: int(denoising_strength · steps) + 1, or all of
them at 1; a second pass runs all of its steps. There are no grids. ``options`` are kept in memory, for all callers of
this dialect.
"""

from __future__ import annotations

import asyncio
import dataclasses

from fastapi import APIRouter, Request, Response

from server.dialects.sdapi.answer import answer_of, json_response
from server.dialects.sdapi.body import Generation, Img2Img, Txt2Img
from server.dialects.sdapi.calls import Calls
from server.dialects.sdapi.handing_in import HandingIn
from server.dialects.sdapi.options import Chosen, Options
from server.dialects.sdapi.places import in_this_dialects_words, placed
from server.dialects.sdapi.plan import Plan, infotexts_of, plan_of
from server.dialects.shared.bodies import body_as, json_body
from server.dialects.shared.headers import JOB_HEADERS, chosen_job_id, idempotency_key
from server.dialects.shared.waiting import ensure_succeeded
from server.job import Job, NewJob
from server.web.routing import direct
from server.web.services import Services


def add_generating(router: APIRouter, services: Services, options: Options, calls: Calls) -> None:
    """Add the routes that make pictures."""
    shared = {"parameters": JOB_HEADERS}
    generating = _Generating(services, options, calls)

    described = {**json_body(Txt2Img.model_json_schema()), **shared}
    summary = "Make pictures from text, and wait for them"

    @direct(router, "POST", "/sdapi/v1/txt2img", summary=summary, openapi_extra=described)
    async def txt2img(http: Request) -> Response:
        return await generating.answer(http, await body_as(Txt2Img, http))

    described = {**json_body(Img2Img.model_json_schema()), **shared}
    summary = "Make pictures from a picture and text, and wait for them"

    @direct(router, "POST", "/sdapi/v1/img2img", summary=summary, openapi_extra=described)
    async def img2img(http: Request) -> Response:
        body = await body_as(Img2Img, http)
        if body.init_images and 1 < len(body.init_images) < (body.batch_size or 1):
            body = body.model_copy(update={"batch_size": len(body.init_images)})  # as in AUTOMATIC1111
        return await generating.answer(http, body)


class _Generating:
    """Turns calls into jobs, and finished jobs into answers."""

    def __init__(self, services: Services, options: Options, calls: Calls) -> None:
        self._services = services
        self._options = options
        self._calls = calls

    async def answer(self, http: Request, body: Generation) -> Response:
        override = await asyncio.to_thread(self._options.read, body.override_settings or {}, "override_settings.")
        handing_in = HandingIn(self._services, self._services.client_of(http))
        try:
            plan, job = await self._accepted(http, body, override, handing_in)
        except BaseException:
            await handing_in.let_go()
            raise
        if body.override_settings_restore_afterwards is False:
            self._options.keep(override)
        name = "img2img" if isinstance(body, Img2Img) else "txt2img"
        async with self._calls.under_way(job, body.force_task_id, name):
            job = await self._services.wait_connected(http, job)
        if not (job.state == "cancelled" and job.interrupted):  # then nothing is done, which is no error
            ensure_succeeded(job)
        return json_response(await answer_of(job, body, plan, self._services))

    async def _accepted(
        self, http: Request, body: Generation, override: Chosen, handing_in: HandingIn
    ) -> tuple[Plan, Job]:
        key, id = idempotency_key(http), chosen_job_id(http)
        handed = await handing_in.of_call(body)
        plan = await asyncio.to_thread(  # a prompt may be long
            plan_of,
            body,
            handed,
            override=override,
            defaults=self._options.chosen,
            backend=self._services.backend,
            most=self._services.settings.max_pictures,
            program=self._services.settings.sdapi_pictures,
        )
        extra = {"id_task": body.force_task_id} if body.force_task_id else {}
        with in_this_dialects_words():
            wanted = await asyncio.to_thread(lambda: tuple(map(placed, plan.wanted)))
        new = NewJob(
            wanted=wanted,
            dialect="sdapi",
            client=self._services.client_of(http),
            id=id,
            idempotency_key=key,
            asked=[body.model_dump(), dataclasses.asdict(override)],
            inputs=plan.inputs,
            extra=extra | ({"infotexts": infotexts_of(plan, self._services.backend)} if plan.notes else {}),
        )
        with in_this_dialects_words():
            return plan, await self._services.jobs.accept(new)
