"""The routes ``generate``, ``workflow`` and ``parameters``: from a call to a job, and from the job to its answer."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from engine import BadRequest, GenerationRequest, Workflow
from server.dialects.native.answers import JobAnswer, ParametersAnswer, job_json
from server.dialects.native.describe import problems
from server.dialects.native.examples import GENERATE, WORKFLOW
from server.dialects.native.files import read_file
from server.dialects.native.parameters import READER, read_call, schema
from server.dialects.shared.bodies import json_body, json_object
from server.dialects.shared.headers import JOB_HEADERS, chosen_job_id, idempotency_key
from server.dialects.shared.waiting import ensure_succeeded, read_picture
from server.job import Job, parameters
from server.web.routing import direct
from server.web.services import Services

_WAIT = re.compile(r"wait=(\d{1,6})")

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
_FILE = {
    "application/json": {"schema": {"type": "object"}, "examples": WORKFLOW},
    "image/png": {"schema": _BYTES},
}


def add_routes(router: APIRouter, services: Services) -> None:
    """Add the routes to ``router``."""
    most = services.settings.max_pictures

    @direct(
        router,
        "POST",
        "/generate",
        responses=_ANSWERS,
        summary="Make pictures",
        openapi_extra={**json_body(schema(most), required=False, examples=GENERATE), "parameters": _HEADERS},
    )
    async def generate(http: Request) -> Response:
        """Every parameter is optional; the defaults are those of ComfyUI's default workflow. The answer comes when the
        pictures are there, or at once with `async` or `Prefer: respond-async` (`wait=N`: after N seconds at most). A
        caller who hangs up cancels the job, unless it has an idempotency key."""
        values = await json_object(http, may_be_empty=True)
        return await _carry_out(services, http, values, None)

    @direct(
        router,
        "POST",
        "/workflow",
        responses=_ANSWERS,
        summary="Make the pictures of a ComfyUI workflow file",
        openapi_extra={"requestBody": {"required": True, "content": _FILE}, "parameters": [*_HEADERS, *_query(most)]},
    )
    async def workflow(http: Request) -> Response:
        """The body is the file itself: a workflow in the editor's or the API's form, or a PNG that contains one.
        Parameters in the query replace those in the file if it is one request: one sampling from noise. Any other
        workflow runs as it is, with all its outputs; a parameter beside it is refused with 422."""
        file = await read_file(http)
        return await _carry_out(services, http, READER.from_text(_single(http)), file.wanted)

    @direct(
        router,
        "POST",
        "/parameters",
        responses={200: {"model": ParametersAnswer}, **problems(400, 401, 403, 413)},
        summary="Read the parameters and the workflow inside a workflow file or a PNG",
        openapi_extra={"requestBody": {"required": True, "content": _FILE}},
    )
    async def read_parameters(http: Request) -> Response:
        """Nothing is made. Every workflow is answered in the API's form, which also turns the editor's form into it;
        one that is a single request is answered as parameters too."""
        file = await read_file(http)
        request = file.request
        return JSONResponse(
            {
                "source": file.source,
                "parameters": None if request is None else parameters(request),
                "workflow": file.graph,
            }
        )


async def _carry_out(
    services: Services, http: Request, values: Mapping[str, Any], base: GenerationRequest | Workflow | None
) -> Response:
    call = read_call(values, most=services.settings.max_pictures, key=idempotency_key(http), base=base)
    response_format = call.controls.response_format
    at_once, wait = _preference(http.headers.get("prefer", ""), call.controls.asynchronous)
    if response_format == "path" and services.outputs.path("x.png") is None:
        raise BadRequest("response_format", "path", "url or base64: the pictures are not kept on a local disk")
    if at_once and response_format in ("base64", "png"):
        raise BadRequest("response_format", response_format, "url or path for a job that is not waited for")
    base_url = services.access.base_url(http)
    new = call.job(id=chosen_job_id(http), client=services.client_of(http), base_url=base_url)
    job = await services.jobs.accept(new)
    if not at_once or wait:
        job = await services.wait_connected(http, job, wait)
    if at_once and not (wait and job.done):
        return await _accepted(services, job, base_url)
    return await _finished(services, job, base_url, response_format)


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


def _preference(header: str, asynchronous: bool) -> tuple[bool, float | None]:
    """Return whether to answer at once, and how many seconds to wait all the same, from ``async`` and Prefer."""
    preferences = [part.strip().lower() for part in re.split("[,;]", header)]
    if "respond-async" not in preferences:
        return asynchronous, None
    waits = [match[1] for match in map(_WAIT.fullmatch, preferences) if match]
    return True, float(waits[0]) if waits and not asynchronous else None


def _single(http: Request) -> dict[str, str]:
    """Return the query. Raises ``BadRequest`` for a name that occurs twice."""
    for name in http.query_params:
        if len(http.query_params.getlist(name)) > 1:
            raise BadRequest(name, http.query_params.getlist(name), "one value")
    return dict(http.query_params)


def _query(most: int) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "schema": described, "explode": False, "style": "form"}
        for name, described in schema(most)["properties"].items()
    ]
