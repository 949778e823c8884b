"""The routes ``generate``, ``workflow`` and ``parameters``: from a call to a job, and from the job to its answer."""

from __future__ import annotations

import base64
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from server.dialects.native.answers import JobAnswer, ParametersAnswer, job_json
from server.dialects.native.calls import NativeCall, preference
from server.dialects.native.describe import FILE_CONTENT, call_content, problems, query_parameters
from server.dialects.native.parameters import Call
from server.dialects.shared.headers import JOB_HEADERS
from server.dialects.shared.waiting import ensure_succeeded, read_picture
from server.job import Job, parameters
from server.web.routing import direct
from server.web.services import Services

_BYTES = {"type": "string", "format": "binary"}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": JobAnswer, "description": "the pictures", "content": {"image/png": {"schema": _BYTES}}},
    202: {"model": JobAnswer, "description": "the job, accepted but not done yet"},
    **problems(400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 507),
}
_HEADERS = [
    *JOB_HEADERS,
    {
        "name": "Prefer",
        "in": "header",
        "description": "respond-async answers at once, with wait=N after N seconds at most; others are ignored",
        "schema": {"type": "string"},
        "example": "respond-async, wait=10",
    },
]


def add_routes(router: APIRouter, services: Services) -> None:
    """Add the routes to ``router``."""
    _add_generate(router, services)
    _add_workflow(router, services)
    _add_parameters(router, services)


def _add_generate(router: APIRouter, services: Services) -> None:
    body = {"required": False, "content": call_content(services.settings.max_pictures)}

    @direct(
        router,
        "POST",
        "/generate",
        responses=_ANSWERS,
        summary="Make pictures",
        openapi_extra={"requestBody": body, "parameters": _HEADERS},
    )
    async def generate(http: Request) -> Response:
        """Every parameter is optional; the defaults are those of ComfyUI's default workflow. The answer comes when the
        pictures are there, or at once with `async` or `Prefer: respond-async` (`wait=N`: after N seconds at most). A
        caller who hangs up cancels the job, unless it has an idempotency key."""
        native = NativeCall(services, http)
        call, job = await native.accepted(await native.values())
        return await _answered(services, http, call, job)


def _add_workflow(router: APIRouter, services: Services) -> None:
    most = services.settings.max_pictures

    @direct(
        router,
        "POST",
        "/workflow",
        responses=_ANSWERS,
        summary="Make the pictures of a ComfyUI workflow file",
        openapi_extra={
            "requestBody": {"required": True, "content": FILE_CONTENT},
            "parameters": [*_HEADERS, *query_parameters(most)],
        },
    )
    async def workflow(http: Request) -> Response:
        """The body is the file itself: a workflow in the editor's or the API's form, or a PNG that contains one; or a
        form with the file as `workflow`, and the pictures that it loads by their names. Parameters in the query or the
        form replace those in the file if it is one request, also where those cannot be read. Any other workflow runs
        as it is, with all its outputs; a parameter beside it is refused with 422."""
        native = NativeCall(services, http)
        file, values = await native.file()
        call, job = await native.accepted(values, file.wanted)
        return await _answered(services, http, call, job)


def _add_parameters(router: APIRouter, services: Services) -> None:
    @direct(
        router,
        "POST",
        "/parameters",
        responses={200: {"model": ParametersAnswer}, **problems(400, 401, 403, 413)},
        summary="Read the parameters and the workflow inside a workflow file or a PNG",
        openapi_extra={"requestBody": {"required": True, "content": FILE_CONTENT}},
    )
    async def read_parameters(http: Request) -> Response:
        """Nothing is made. Every workflow is answered in the API's form, which also turns the editor's form into it;
        one that is a single request is answered as parameters too, with its LoRAs, pictures and other parts."""
        file, _ = await NativeCall(services, http).file()
        request = file.request
        return JSONResponse(
            {
                "source": file.source,
                "parameters": None if request is None else parameters(request),
                "workflow": file.graph,
            }
        )


async def _answered(services: Services, http: Request, call: Call, job: Job) -> Response:
    at_once, wait = preference(http, call)
    base_url = services.access.base_url(http)
    if not at_once or wait:
        job = await services.wait_connected(http, job, wait)
    if at_once and not (wait and job.done):
        return await _accepted(services, job, base_url)
    return await _finished(services, job, base_url, call.controls.response_format)


async def _accepted(services: Services, job: Job, base_url: str) -> Response:
    answer = job_json(job, base_url, await services.jobs.place(job), services.jobs.latest(job.id))
    headers = {"Location": answer["url"], "X-Job-Id": job.id, "Preference-Applied": "respond-async"}
    return JSONResponse(answer, 202, headers)


async def _finished(services: Services, job: Job, base_url: str, response_format: str) -> Response:
    ensure_succeeded(job)
    answer, headers = job_json(job, base_url), {"X-Job-Id": job.id}
    if response_format == "png":
        headers |= {"Content-Location": answer["output_url"], "X-Seed": str(answer["seed"])}
        return Response(await read_picture(services, job.pictures[0].name), 200, headers, "image/png")
    for picture, image in zip(job.pictures, answer["images"], strict=True):
        if response_format == "base64":
            image["base64"] = base64.b64encode(await read_picture(services, picture.name)).decode()
        elif response_format == "path":
            image["path"] = str(services.outputs.path(picture.name))
    return JSONResponse(answer, 200, headers)
