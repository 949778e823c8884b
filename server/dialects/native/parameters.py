"""The native API's call, read from JSON or a query into a request and its controls; and the call's JSON schema.

This module knows no route. An unknown name is refused, and the error holds the nearest known names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine import BadRequest, GenerationRequest, Workflow
from engine.formats.comfyui import request_of
from engine.parameters import (
    Flag,
    Many,
    Name,
    OneOf,
    Optional,
    Text,
    WholeNumber,
    check_fields,
    parameter,
    parameters_of,
)
from engine.workflow.needs import needs_of
from server.dialects.shared.pictures import ALLOWED
from server.dialects.shared.reader import Found, Reader
from server.dialects.shared.seeds import in_a_row
from server.inputs.input import Input
from server.job import NewJob, Webhook, parameters
from server.problems import Problem
from server.task import LARGEST_GRAPH, known_pictures

_MOST_REQUESTS = 4096
_EVENTS = ("started", "output", "progress", "finished")


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What a call says beside the parameters of its pictures."""

    count: int = parameter(
        1,
        WholeNumber(1, _MOST_REQUESTS),
        "requests to make: number i has the seed + i, and gives what that seed alone gives",
    )
    response_format: str = parameter(
        "url",
        OneOf(("url", "base64", "path", "png")),
        "url; base64: the pictures' bytes in the answer too; path: their path on the server's disk too; "
        "png: the picture itself",
    )
    asynchronous: bool = parameter(False, Flag(), "answer at once, with 202 and the job")
    priority: int = parameter(0, WholeNumber(-10, 10), "higher goes first")
    webhook_url: str | None = parameter(
        None, Name("an http or https URL"), "where the job is posted to when something happens to it"
    )
    webhook_events: tuple[str, ...] | None = parameter(
        None, Optional(Many(OneOf(_EVENTS), least=1)), "the events that are posted there; by default, finished"
    )
    idempotency_key: str | None = parameter(
        None,
        Optional(Text(1, 255, printable=True)),
        "a repeated call with the same key gets the same job; also as the Idempotency-Key header",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.webhook_url is None and self.webhook_events is not None:
            raise BadRequest("webhook_events", list(self.webhook_events), "nothing, where there is no webhook_url")

    @property
    def webhook(self) -> Webhook | None:
        """The webhook of the job. Accepting the job checks whether the server may call its URL."""
        if self.webhook_url is None:
            return None
        if self.webhook_events is None:
            return Webhook(url=self.webhook_url)
        return Webhook(url=self.webhook_url, events=tuple(dict.fromkeys(self.webhook_events)))


READER = Reader(
    GenerationRequest(), Controls(), words={"async": "asynchronous"}, hidden=("asynchronous",), null_is_absent=False
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call to ``generate`` or ``workflow``, checked."""

    wanted: GenerationRequest | Workflow
    """A workflow only where no request says the same."""
    controls: Controls
    idempotency_key: str | None
    """The key in the call or in its header."""

    def pictures(self, inputs: Mapping[str, Input]) -> int:
        """Return the number of pictures that the call asks for. ``inputs``: those that its workflow loads, by name."""
        wanted = self.wanted
        if isinstance(wanted, GenerationRequest):
            return self.controls.count * wanted.batch_size
        try:
            needs = needs_of(wanted, known_pictures(inputs))
        except BadRequest as error:
            raise wanted.located(error) from None
        return sum(needs.pictures(output).pictures for output in wanted.outputs.values())

    def ensure_answerable(self, *, local: bool, at_once: bool) -> None:
        """Raise ``BadRequest`` for a ``response_format`` that the answer cannot have.

        ``local``: whether pictures are kept on a local disk; ``at_once``: whether the answer comes before them.
        """
        response_format = self.controls.response_format
        if response_format == "path" and not local:
            raise BadRequest("response_format", "path", "url or base64: the pictures are not kept on a local disk")
        if at_once and response_format in ("base64", "png"):
            raise BadRequest("response_format", response_format, "url or path for a job that is not waited for")

    def ensure_one_picture(self, inputs: Mapping[str, Input]) -> None:
        """Raise ``BadRequest`` where the answer is to be the picture itself, and there is not just one."""
        if self.controls.response_format == "png" and (pictures := self.pictures(inputs)) != 1:
            raise BadRequest("response_format", "png", f"url, base64 or path for {pictures} pictures")

    def job(self, *, id: str | None, client: str, base_url: str, inputs: Mapping[str, Input]) -> NewJob:
        """Return the job for the call. A fresh seed is drawn here, so that the other requests can count on from it."""
        wanted, controls = self.wanted, self.controls
        tasks: tuple[GenerationRequest | Workflow, ...]
        if isinstance(wanted, GenerationRequest):
            tasks, asked = in_a_row(wanted, controls.count), parameters(wanted)
        else:
            tasks, asked = (wanted,), wanted.to_comfyui()
        webhook = controls.webhook
        return NewJob(
            wanted=tasks,
            dialect="native",
            client=client,
            id=id,
            priority=controls.priority,
            idempotency_key=self.idempotency_key,
            asked=[asked, controls.count, controls.priority, None if webhook is None else vars(webhook)],
            webhook=webhook,
            inputs=inputs,
            extra={"base_url": base_url},
        )


def read_call(found: Found, *, most: int, key: str | None, base: GenerationRequest | Workflow | None = None) -> Call:
    """Return the call that ``found`` describes, over ``base`` or the defaults.

    ``most``: the most pictures that a job may have; ``key``: the Idempotency-Key header. Raises ``BadRequest`` and
    ``Problem``, which has the status 422 where ``found`` would replace parts of a workflow that is no single request.
    """
    wanted = _wanted(found, base)
    WholeNumber(1, most).read("count", found.get("count", ("count", 1))[1])
    controls = READER.read(Controls, found)
    return Call(wanted=wanted, controls=controls, idempotency_key=_one_key(controls.idempotency_key, key))


def _wanted(found: Found, base: GenerationRequest | Workflow | None) -> GenerationRequest | Workflow:
    """Return ``base`` with the parameters in ``found`` over it; a workflow only where no request says the same."""
    if not isinstance(base, Workflow):
        return READER.read(GenerationRequest, found, base)
    try:
        request = request_of(base)
    except BadRequest as error:
        for name in (*parameters_of(GenerationRequest), "count"):
            if name in found:
                raise _no_single_request(found[name][0], error.field) from None
        return _not_too_large(base)
    return READER.read(GenerationRequest, found, request)


def _no_single_request(word: str, place: str) -> Problem:
    detail = f"{word}: the workflow is no single request ({place}): parameters can't replace its fields"
    return Problem(status=422, kind="no_single_request", title="No single request", detail=detail, field=word)


def _not_too_large(workflow: Workflow) -> Workflow:
    if len(json.dumps(workflow.to_comfyui(), ensure_ascii=False).encode("utf-8", "surrogatepass")) > LARGEST_GRAPH:
        detail = f"a workflow may have {LARGEST_GRAPH >> 10} KiB of JSON in the API's form: it is kept with the job"
        raise Problem(status=413, kind="workflow_too_large", title="Workflow too large", detail=detail)
    return workflow


def _one_key(given: str | None, header: str | None) -> str | None:
    if given is not None and header is not None and given != header:
        raise BadRequest("idempotency_key", given, f"the same as the Idempotency-Key header, {header!r}, or nothing")
    return header if given is None else given


def schema(most: int) -> dict[str, Any]:
    """Return the JSON schema of a call to ``generate``. ``most``: the most pictures that a job may have."""
    properties = READER.schemas()
    properties["count"] |= {"maximum": most}
    properties["webhook_url"] |= {"format": "uri"}
    for name in ("image", "mask"):
        properties[name] |= {"description": f"{properties[name]['description']}; {ALLOWED}"}
    return {"type": "object", "title": "Generate", "properties": properties, "additionalProperties": False}
