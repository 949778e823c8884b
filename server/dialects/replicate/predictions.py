"""Predictions: how they are created, listed, read, cancelled and streamed."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from engine import BadRequest
from server.dialects.replicate.errors import errors
from server.dialects.replicate.input import body_schema, model_of_path, read_call
from server.dialects.replicate.prediction import PredictionAnswer, prediction
from server.dialects.replicate.stream import stream
from server.dialects.shared.bodies import json_body, json_object
from server.dialects.shared.headers import JOB_HEADERS, LAST_EVENT_ID, chosen_job_id, idempotency_key, last_event_id
from server.dialects.shared.pictures import CallPictures
from server.dialects.shared.reader import worded
from server.dialects.shared.seeds import in_a_row
from server.dialects.shared.streams import EventStream
from server.job import Job, NewJob
from server.problems import not_found
from server.queue.events import nothing_follows
from server.store import Search
from server.web.routing import direct
from server.web.services import Services

_PAGE = 100
_LONGEST_WAIT = 60
_HELD = 0.9
"""The share of the seconds to wait after which the server answers: Replicate's client gives up half a second after all
of them, however busy the server is."""
_CURSOR = re.compile(r"^([0-9]{1,12})-([0-9]{1,15})$")
_WAIT = re.compile(r"wait(?:\s*=\s*\"?([^\"]*)\"?)?")

_EXAMPLE = {"version": "starter", "input": {"prompt": "a purple galaxy bottle", "num_inference_steps": 20}}
_CREATED: dict[int | str, dict[str, Any]] = {
    201: {"model": PredictionAnswer},
    **errors(400, 401, 403, 404, 409, 413, 422, 429, 503),
}
_ONE: dict[int | str, dict[str, Any]] = {200: {"model": PredictionAnswer}, **errors(400, 401, 403, 404)}
_EVENTS = {"description": "server-sent events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}


class PredictionsAnswer(BaseModel):
    previous: str | None
    next: str | None
    results: list[PredictionAnswer]


def add_routes(router: APIRouter, services: Services) -> None:
    """Add the routes to ``router``."""
    _add_creating(router, services)
    _add_looking(router, services)
    _add_following(router, services)


def _add_creating(router: APIRouter, services: Services) -> None:
    @direct(
        router,
        "POST",
        "/predictions",
        status_code=201,
        responses=_CREATED,
        openapi_extra=_body(with_version=True),
    )
    async def create(http: Request) -> JSONResponse:
        """Answers at once; with `Prefer: wait=N`, when it is done or about N seconds have passed. A prediction
        that is not done has the status `starting`, as Replicate's clients expect. Hanging up cancels it."""
        return await _create(services, http, None)

    @router.post(
        "/models/{owner}/{name}/predictions",
        status_code=201,
        responses=_CREATED,
        response_model=None,
        openapi_extra=_body(with_version=False),
    )
    async def create_for_model(http: Request, owner: str, name: str) -> JSONResponse:
        """The same for the model that the path names."""
        return await _create(services, http, model_of_path(owner, name, services).name)


def _add_looking(router: APIRouter, services: Services) -> None:
    @router.get(
        "/predictions",
        responses={200: {"model": PredictionsAnswer}, **errors(400, 401, 403)},
        response_model=None,
    )
    async def list_predictions(
        http: Request, cursor: Annotated[str | None, Query(description="from `next`", pattern=_CURSOR.pattern)] = None
    ) -> JSONResponse:
        """All predictions, a hundred on a page, the newest first."""
        return JSONResponse(await _page(services, http, cursor))

    @router.get("/predictions/{id}", responses=_ONE, response_model=None)
    async def get(id: str) -> JSONResponse:
        """One prediction."""
        job = await _job(services, id)
        return JSONResponse(prediction(job, services.jobs.latest(id)))


def _add_following(router: APIRouter, services: Services) -> None:
    @router.post("/predictions/{id}/cancel", responses=_ONE, response_model=None)
    async def cancel(id: str) -> JSONResponse:
        """Cancels at once while `starting`, within a step while `processing`, and has no effect after the end."""
        await _job(services, id)
        job = await services.jobs.cancel(id)
        if job is None:
            raise not_found("prediction", id)
        return JSONResponse(prediction(job, services.jobs.latest(id)))

    @router.get(
        "/predictions/{id}/stream",
        responses={200: _EVENTS, 204: {"description": "nothing more will come"}, **errors(400, 401, 403, 404)},
        response_model=None,
        openapi_extra={"parameters": [LAST_EVENT_ID]},
    )
    async def events(http: Request, id: str) -> Response:
        """A stream of `logs` with the progress, `output` with rough pictures (as data URLs) and at the end the
        pictures' URLs, `error` if it failed, and `done`. 204 after `done`. Closing the stream cancels nothing."""
        after = last_event_id(http)
        job = await _job(services, id)
        if nothing_follows(job, after):
            return Response(status_code=204)
        return EventStream(stream(services.jobs.events(job.id, after)))


async def _create(services: Services, http: Request, model: str | None) -> JSONResponse:
    body = await json_object(http)
    base_url = services.access.base_url(http)
    wait = read_preference(http.headers.get("prefer", ""))
    async with CallPictures(services, http) as pictures:
        call = await read_call(body, model, services, pictures, base_url)
        new = NewJob(
            wanted=in_a_row(call.request, call.controls.num_outputs),
            dialect="replicate",
            client=services.client_of(http),
            id=chosen_job_id(http),
            idempotency_key=idempotency_key(http),
            asked=[model, {**body, "input": call.input}],
            webhook=call.webhook,
            inputs=pictures.inputs,
            extra={"input": call.input, "ending": call.controls.ending, "base_url": base_url},
        )
        with worded(call.words):
            job = await services.jobs.accept(new)
    if wait is not None:
        job = await services.wait_connected(http, job, wait)
    answer = prediction(job, services.jobs.latest(job.id))
    if not job.done:  # their client takes any other status for an end, where it asked to wait
        answer["status"] = "starting"
    return JSONResponse(answer, 201, {"Location": answer["urls"]["get"], "X-Job-Id": job.id})


def read_preference(header: str) -> float | None:
    """Read the seconds to wait from the Prefer header; None where it asks for none. Other preferences are ignored."""
    for part in header.split(","):
        match = _WAIT.fullmatch(part.strip().lower())
        if match is None:
            continue
        seconds = match[1] if match[1] is not None else str(_LONGEST_WAIT)
        if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 4 and 1 <= int(seconds) <= _LONGEST_WAIT):
            raise BadRequest("Prefer", part.strip(), f"wait, or wait=N with 1 to {_LONGEST_WAIT} seconds")
        return float(seconds) * _HELD
    return None


async def _job(services: Services, id: str) -> Job:
    job = await services.jobs.get(id)
    if job is None or job.dialect != "replicate":
        raise not_found("prediction", id)
    return job


async def _page(services: Services, http: Request, cursor: str | None) -> dict[str, Any]:
    """Read one page. A cursor holds how many jobs precede the page, and the sequence of the last of them, so that jobs
    accepted since then do not shift the pages."""
    offset, before = _read_cursor(cursor)
    jobs: list[Job] = []
    while len(jobs) <= _PAGE:
        search = Search(dialects=("replicate",), limit=_PAGE + 1, offset=offset)
        found = (await services.jobs.find(search)).jobs
        jobs += [job for job in found if before is None or job.sequence < before]
        offset += len(found)
        if len(found) <= _PAGE:
            break
    shown, rest = jobs[:_PAGE], len(jobs) - _PAGE
    url = f"{services.access.base_url(http)}{http.url.path}?cursor="
    return {
        "previous": None,
        "next": f"{url}{offset - rest}-{shown[-1].sequence}" if rest > 0 else None,
        "results": [prediction(job, services.jobs.latest(job.id)) for job in shown],
    }


def _read_cursor(cursor: str | None) -> tuple[int, int | None]:
    if cursor is None:
        return 0, None
    match = _CURSOR.fullmatch(cursor)
    assert match is not None  # checked with the query
    return int(match[1]), int(match[2])


def _body(with_version: bool) -> dict[str, Any]:
    example = _EXAMPLE if with_version else {"input": _EXAMPLE["input"]}
    wait = {
        "name": "Prefer",
        "in": "header",
        "schema": {"type": "string", "pattern": "^wait(=([1-9]|[1-5][0-9]|60))?$"},
    }
    return {**json_body(body_schema(with_version), example=example), "parameters": [*JOB_HEADERS, wait]}
