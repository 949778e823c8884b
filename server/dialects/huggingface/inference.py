"""Hugging Face's inference API for text to image and image to image: ``POST /hf`` answers with the picture itself.

A body whose ``inputs`` is a picture, or that is a picture's file, starts from it; its prompt is ``parameters.prompt``.

``huggingface_hub.InferenceClient(model="http://host/hf")`` calls it, or ``…/hf/models/NAME`` for one checkpoint. A
seed that is absent is drawn, and the header X-Seed holds it; other absent parameters have the engine's defaults, the
negative prompt included. The dialect has no progress and no previews: a caller who sends X-Job-Id finds them under
``/api/v1/jobs`` while it waits. A caller who hangs up cancels the job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from engine import BadRequest, GenerationRequest
from engine.parameters import Flag
from server.dialects.huggingface.source import body_of, is_picture
from server.dialects.shared.bodies import json_body
from server.dialects.shared.diffusers_names import WORDS, named_schemas
from server.dialects.shared.diffusers_parts import WORDS as PART_WORDS
from server.dialects.shared.diffusers_parts import find_parts, part_schemas, started
from server.dialects.shared.headers import JOB_HEADERS, chosen_job_id, idempotency_key, job_headers
from server.dialects.shared.model_names import with_model
from server.dialects.shared.pictures import CallPictures
from server.dialects.shared.reader import FRESH, Found, Reader, unknown, worded, words_of
from server.dialects.shared.seeds import in_a_row
from server.dialects.shared.waiting import ensure_succeeded, read_picture
from server.job import NewJob
from server.pictures.formats import FORMATS, PICTURE_CONTENT, Format, converted
from server.problems import Problem
from server.web.routing import direct
from server.web.services import Services

READER = Reader(FRESH, words={**WORDS, **PART_WORDS})

_BODY = ("inputs", "parameters", "options")
_OPTIONS = ("use_cache", "wait_for_model")
"""What older clients send under ``options``. There is no cache here, and the server always waits for a model."""

_EXAMPLE = {"inputs": "a purple galaxy bottle", "parameters": {"num_inference_steps": 20, "guidance_scale": 8}}


class HuggingFaceError(BaseModel):
    """Any error."""

    error: str


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "the picture, in the format that Accept prefers", "content": PICTURE_CONTENT},
    **{
        status: {"model": HuggingFaceError}
        for status in (400, 401, 403, 404, 406, 409, 410, 413, 422, 429, 500, 503, 507)
    },
}


def create_router(services: Services) -> APIRouter:
    """Return the routes of the dialect."""
    router = APIRouter(prefix="/hf", tags=["Hugging Face"])
    documented: dict[str, Any] = {"responses": _ANSWERS, "response_class": Response, "openapi_extra": _body()}

    @direct(router, "POST", "/", include_in_schema=False)
    @direct(router, "POST", "", summary="Make or change a picture", **documented)
    async def text_to_image(http: Request) -> Response:
        """With the default checkpoint, or the one that `parameters.model` names."""
        return await _carry_out(services, http, None)

    @router.post(
        "/models/{name:path}", summary="Make or change a picture with a checkpoint", response_model=None, **documented
    )
    async def text_to_image_with(http: Request, name: str) -> Response:
        """The same, with the checkpoint of that name."""
        return await _carry_out(services, http, name)

    return router


async def _carry_out(services: Services, http: Request, model: str | None) -> Response:
    format = accepted_format(http.headers.get("accept", ""))
    body = await body_of(http)
    found, parts = _found(body, model)
    found = with_model(found, services)
    async with CallPictures(services, http) as pictures:
        with worded(parts):
            found = await started(READER, found, services, pictures)
            request = READER.read(GenerationRequest, found)
        if request.batch_size != 1:
            raise BadRequest("parameters.batch_size", request.batch_size, "1: the answer is one picture")
        new = NewJob(
            wanted=in_a_row(request, 1),
            dialect="huggingface",
            client=services.client_of(http),
            id=chosen_job_id(http),
            idempotency_key=idempotency_key(http),
            asked=[model, body if request.plain else {name: value for name, (_, value) in found.items()}],
            inputs=pictures.inputs,
        )
        with worded({**words_of(found), **parts}):
            job = await services.jobs.accept(new)
    job = await services.wait_connected(http, job)
    ensure_succeeded(job)
    picture = job.pictures[0]
    data = await converted(await read_picture(services, picture.name), format)
    headers = {**job_headers(services, http, job), "X-Seed": str(picture.seed), "Vary": "Accept"}
    return Response(data, 200, headers, f"image/{format}")


def _found(body: Mapping[str, Any], model: str | None) -> tuple[Found, dict[str, str]]:
    """Return the parameters in ``body``, with the model that the path names, and the caller's words for their parts.

    Raises ``BadRequest`` and ``Problem``.
    """
    if strange := {name: value for name, value in body.items() if name not in _BODY}:
        raise unknown(strange, _BODY)
    inputs = body.get("inputs")
    if inputs is None:
        raise BadRequest("inputs", None, "text: the prompt, or a picture; it is required")
    _check_options(body.get("options"))
    given = body.get("parameters")
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise BadRequest("parameters", given, "an object")
    name = "image" if is_picture(inputs, given) else "prompt"
    found, parts = find_parts(READER, {**_target(given), name: inputs}, "parameters.")
    if given.get(name) is not None:
        raise BadRequest(f"parameters.{name}", given[name], f"nothing: inputs is the {name}")
    if model is not None and "model" in found:
        raise BadRequest("parameters.model", found["model"][1], f"nothing, because the path names the model {model!r}")
    named: Found = {"model": ("model", model)} if model is not None else {}
    return {**found, **named, name: ("inputs", inputs)}, parts


def _target(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with the width and height of ``target_size``."""
    size = given.get("target_size")
    rest = {word: value for word, value in given.items() if word != "target_size"}
    if size is None:
        return rest
    if not isinstance(size, dict) or set(size) != {"width", "height"}:
        raise BadRequest("parameters.target_size", size, "an object with width and height")
    for word in ("width", "height"):
        if rest.get(word) is not None:
            raise BadRequest(f"parameters.{word}", rest[word], "nothing beside target_size, which says the same")
    return {**rest, **size}


def _check_options(options: object) -> None:
    if options is None:
        return
    if not isinstance(options, dict):
        raise BadRequest("options", options, "an object")
    if strange := {name: value for name, value in options.items() if name not in _OPTIONS}:
        raise unknown(strange, _OPTIONS, "options.")
    for name, value in options.items():
        Flag().check(f"options.{name}", value)


def accepted_format(accept: str) -> Format:
    """Return the format that an Accept header prefers, or else PNG. Raises a ``Problem``, 406, if it allows none."""
    weights: dict[Format, float] = {"png": 1.0}
    if accept.strip():
        weights = {format: _weight(accept, format) for format in FORMATS}
    best = max(weights, key=lambda format: weights[format])  # the first of equals
    if weights[best] <= 0:
        allowed = ", ".join(f"image/{format}" for format in FORMATS)
        raise Problem(
            status=406,
            kind="not_acceptable",
            title="Not acceptable",
            detail=f"Accept: {accept[:200]!r} is not allowed; expected one of {allowed}",
            field="Accept",
        )
    return best


def _weight(accept: str, format: str) -> float:
    """Return the q of the range that fits best (the type itself before image/* before */*), or 0 if none fits."""
    fitting = {"*/*": 0, "image/*": 1, f"image/{format}": 2} | ({"image/jpg": 2} if format == "jpeg" else {})
    found = (-1, 0.0)
    for part in accept.lower().split(","):
        name, *settings = [each.strip() for each in part.split(";")]
        if name in fitting and fitting[name] > found[0]:
            found = (fitting[name], _q(settings))
    return found[1]


def _q(settings: list[str]) -> float:
    """Return the weight among a range's settings: 1 if there is none, 0 if it is not a weight."""
    for setting in settings:
        name, _, value = setting.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0
    return 1.0


def _body() -> dict[str, Any]:
    parameters = {"type": ["object", "null"], "additionalProperties": False}
    named = named_schemas(READER, leave=("batch_size",))
    named["prompt"] = {"type": ["string", "null"], "description": "the prompt, where inputs is a picture"}
    sides = {name: {"type": "integer"} for name in ("width", "height")}
    size = {"type": ["object", "null"], "properties": sides, "required": [*sides], "additionalProperties": False}
    flags = {name: {**Flag().schema(), "description": "without effect"} for name in _OPTIONS}
    properties = {
        "inputs": {"type": "string", "description": "the prompt; or a picture to start from, as base64 or a data: URL"},
        "parameters": {**parameters, "properties": {**named, **part_schemas(), "target_size": size}},
        "options": {**parameters, "properties": flags},
    }
    whole = {"type": "object", "title": "TextToImage", "required": ["inputs"], "additionalProperties": False}
    described = json_body({**whole, "properties": properties}, example=_EXAMPLE)
    described["requestBody"]["content"]["image/*"] = {"schema": {"type": "string", "format": "binary"}}
    return {**described, "parameters": JOB_HEADERS}
