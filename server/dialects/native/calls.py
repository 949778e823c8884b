"""A call of ``generate`` or ``workflow`` as HTTP has it: JSON, a form, a query; and its pictures. Makes the job.

Knows no route and no answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import Request

from engine import BadRequest, GenerationRequest, Workflow
from engine.formats.json_text import read_json
from server.dialects.native.files import WORKFLOW_PART, File, read_file
from server.dialects.native.parameters import READER, Call, read_call
from server.dialects.shared.bodies import json_object
from server.dialects.shared.forms import form_values, is_form
from server.dialects.shared.headers import chosen_job_id, idempotency_key
from server.dialects.shared.pictures import CallPictures
from server.dialects.shared.reader import Found
from server.inputs.input import Input
from server.job import Job
from server.problems import Problem, bad_request, problem_of, together
from server.task import loaded_names
from server.web.services import Services

_WAIT = re.compile(r"wait=(\d{1,6})")

REQUEST_PART = "request"
"""The part of a form that has parameters as a JSON object."""


class NativeCall:
    """One call: what it asks for, and with which pictures."""

    def __init__(self, services: Services, http: Request) -> None:
        self._services = services
        self._http = http
        self._files: dict[str, bytes] = {}
        """The form's files that are no parameters, by their parts' names."""

    async def values(self) -> dict[str, object]:
        """Return the parameters of a body that is JSON or a form. Raises ``BadRequest`` and ``Problem``."""
        if not is_form(self._http):
            return await json_object(self._http, may_be_empty=True)
        form = await self._form()
        whole = _json_part(form.pop(REQUEST_PART, "{}"))
        return _without_doubles(whole, READER.from_form(form))

    async def file(self) -> tuple[File, dict[str, object]]:
        """Return the file of a body that is one, or that is a form with one, and the parameters beside it.

        Those in the query count too; the form's other files are the pictures that the workflow loads by those names.
        """
        values = READER.from_text(_single(self._http))
        if not is_form(self._http):
            return await read_file(self._http, replaced=values), values
        form = await self._form()
        own = form.pop(WORKFLOW_PART, None)
        if not isinstance(own, bytes | str):
            raise bad_request(WORKFLOW_PART, None, "a workflow's file, or a PNG that contains one")
        self._files = {
            name: part for name, part in form.items() if isinstance(part, bytes) and name not in READER.words
        }
        beside = READER.from_form({name: part for name, part in form.items() if name not in self._files})
        values = _without_doubles(values, beside)
        return await read_file(self._http, own if isinstance(own, bytes) else own.encode(), replaced=values), values

    async def accepted(
        self, values: Mapping[str, Any], base: GenerationRequest | Workflow | None = None
    ) -> tuple[Call, Job]:
        """Return the call that ``values`` over ``base`` describe, and its job, accepted.

        Raises ``BadRequest`` and ``Problem``, after which the call's pictures are not kept.
        """
        services, http = self._services, self._http
        async with CallPictures(services, http) as pictures:
            found = await pictures.take_all(_found(values), READER)
            call = read_call(found, most=services.settings.max_pictures, key=idempotency_key(http), base=base)
            call.ensure_answerable(local=services.outputs.local, at_once=preference(http, call)[0])
            named = await self._named(call, pictures)
            id, client, base_url = chosen_job_id(http), services.client_of(http), services.access.base_url(http)
            inputs = {**pictures.inputs, **named}
            by_id = await services.inputs.find(set(loaded_names(call.wanted)) - inputs.keys())
            call.ensure_one_picture({**inputs, **by_id})
            return call, await services.jobs.accept(call.job(id=id, client=client, base_url=base_url, inputs=inputs))

    async def _form(self) -> dict[str, object]:
        return await form_values(self._http, most_bytes=self._services.settings.max_body_bytes)

    async def _named(self, call: Call, pictures: CallPictures) -> dict[str, Input]:
        """Keep the form's files by the names by which the workflow loads them."""
        wanted = loaded_names(call.wanted)
        for name in self._files:
            if name not in wanted:
                listed = ", ".join(wanted) or "it loads none"
                raise bad_request(name, "a file", f"pictures by the names by which the workflow loads them: {listed}")
        return {name: await pictures.take(data, name) for name, data in self._files.items()}


def preference(http: Request, call: Call) -> tuple[bool, float | None]:
    """Return whether to answer at once, and how many seconds to wait all the same, from ``async`` and Prefer."""
    asynchronous = call.controls.asynchronous
    preferences = [part.strip().lower() for part in re.split("[,;]", http.headers.get("prefer", ""))]
    if "respond-async" not in preferences:
        return asynchronous, None
    waits = [match[1] for match in map(_WAIT.fullmatch, preferences) if match]
    return True, float(waits[0]) if waits and not asynchronous else None


def _found(values: Mapping[str, Any]) -> Found:
    """Return the parameters. Raises ``Problem``, which names unknown words and values that are not allowed at once."""
    try:
        return READER.find(values)
    except Problem as problem:
        known = READER.find({word: value for word, value in values.items() if word in READER.words})
        raise together([problem, *map(problem_of, READER.mistakes(known))]) from None


def _json_part(text: object) -> dict[str, object]:
    try:
        parsed = read_json(text) if isinstance(text, str | bytes) else None
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise BadRequest(REQUEST_PART, text, "a JSON object")
    return parsed


def _without_doubles(first: Mapping[str, object], second: Mapping[str, object]) -> dict[str, object]:
    for name in second:
        if name in first:
            raise BadRequest(name, second[name], "one value; there is another beside it")
    return {**first, **second}


def _single(http: Request) -> dict[str, str]:
    """Return the query. Raises ``BadRequest`` for a name that occurs twice."""
    for name in http.query_params:
        if len(http.query_params.getlist(name)) > 1:
            raise BadRequest(name, http.query_params.getlist(name), "one value")
    return dict(http.query_params)
