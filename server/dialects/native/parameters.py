"""JSON or a query → what is asked for; and the same as a JSON schema. Built from ``GenerationRequest``'s own metadata.

Every name that is not known is refused, with the nearest that is.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from engine import BadRequest, GenerationRequest
from engine.request import MAX_SEED, Number, OneOf, WholeNumber
from server.dialects.shared.words import WHOLE, in_a_row, seed_of, whole
from server.job import NewJob, Webhook, parameters

_FORMATS = OneOf(("url", "base64", "path", "png"))
_EVENTS = OneOf(("started", "output", "progress", "finished"))
_PRIORITY = WholeNumber(-10, 10)
_FIELDS = {field.name: field for field in dataclasses.fields(GenerationRequest)}
_SHOWN = 80
"""Characters of a name that is not known."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A call to ``generate`` or ``workflow``, checked."""

    request: GenerationRequest
    count: int
    """Requests to make of it, each with the seed after the one before."""
    response_format: str
    asynchronous: bool
    priority: int
    webhook: Webhook | None
    idempotency_key: str | None

    @property
    def pictures(self) -> int:
        return self.count * self.request.batch_size

    def job(self, *, id: str | None, client: str, base_url: str) -> NewJob:
        """The job for it. A fresh seed is drawn here, where the others count on from it."""
        webhook = self.webhook
        return NewJob(
            requests=in_a_row(self.request, self.count),
            dialect="native",
            client=client,
            id=id,
            priority=self.priority,
            idempotency_key=self.idempotency_key,
            asked=[parameters(self.request), self.count, self.priority, None if webhook is None else vars(webhook)],
            webhook=webhook,
            extra={"base_url": base_url},
        )


def asked(values: Mapping[str, Any], *, most: int, key: str | None, base: GenerationRequest | None = None) -> Asked:
    """``values`` as they came, over ``base`` or the defaults. ``most``: pictures that a job may have; ``key``: the
    Idempotency-Key header. Raises ``BadRequest``."""
    for name in values:
        if name not in _FIELDS and name not in EXTRAS:
            raise BadRequest(name[:_SHOWN], values[name], f"only known parameters{_nearest(name[:_SHOWN])}")
    given: dict[str, Any] = {name: value for name, value in values.items() if name in _FIELDS}
    given |= {name: whole(given[name]) for name in WHOLE & given.keys()}
    if "seed" in given:
        given["seed"] = seed_of("seed", given["seed"])
    request = dataclasses.replace(base or GenerationRequest(), **given)
    response_format = _FORMATS("response_format", values.get("response_format", "url"))
    made = Asked(
        request=request,
        count=WholeNumber(1, most)("count", whole(values.get("count", 1))),
        response_format=response_format,
        asynchronous=_boolean("async", values.get("async", False)),
        priority=_PRIORITY("priority", whole(values.get("priority", 0))),
        webhook=_webhook(values),
        idempotency_key=_idempotency_key(values.get("idempotency_key"), key),
    )
    if response_format == "png" and made.pictures != 1:
        raise BadRequest("response_format", "png", f"url, base64 or path for {made.pictures} pictures")
    return made


def from_text(query: Mapping[str, str]) -> dict[str, Any]:
    """A query's texts as what JSON would hold; what does not convert goes on as it is, to be refused by its name."""
    return {name: _converted(name, text) for name, text in query.items()}


def _converted(name: str, text: str) -> Any:
    if name == "webhook_events":
        return text.split(",")
    if name == "seed" and text == "null":
        return None
    if name == "async":
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    check = _FIELDS[name].metadata["check"] if name in _FIELDS else None
    kind: type | None = None
    if isinstance(check, WholeNumber) or name in ("count", "priority"):
        kind = int
    elif isinstance(check, Number):
        kind = float
    try:
        return kind(text) if kind else text
    except ValueError:
        return text


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(name, value, "true or false")
    return value


def _webhook(values: Mapping[str, Any]) -> Webhook | None:
    """Whether the URL is one that may be called is looked at when the job is accepted."""
    url, events = values.get("webhook_url"), values.get("webhook_events")
    if url is None:
        if events is not None:
            raise BadRequest("webhook_events", events, "nothing, where there is no webhook_url")
        return None
    if not isinstance(url, str):
        raise BadRequest("webhook_url", url, "an http or https URL")
    if events is None:
        return Webhook(url=url)
    if not isinstance(events, list) or not events:
        raise BadRequest("webhook_events", events, f"a list of some of {', '.join(_EVENTS.choices)}")
    return Webhook(url=url, events=tuple(dict.fromkeys(_EVENTS("webhook_events", event) for event in events)))


def _idempotency_key(given: object, header: str | None) -> str | None:
    if given is not None and header is not None and given != header:
        raise BadRequest("idempotency_key", given, f"the same as the Idempotency-Key header, {header!r}, or nothing")
    key = header if given is None else given
    if key is not None and not (isinstance(key, str) and 1 <= len(key) <= 255 and key.isprintable()):
        raise BadRequest("idempotency_key", key, "1 to 255 printable characters")
    return key


def _nearest(name: str) -> str:
    known = [*_FIELDS, *EXTRAS]
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; nearest: {', '.join(nearest)}" if nearest else f": {', '.join(known)}"


EXTRAS: dict[str, dict[str, Any]] = {
    "count": {
        "type": "integer",
        "minimum": 1,
        "default": 1,
        "description": "pictures of their own: number i has the seed + i, and is what that seed alone gives",
    },
    "response_format": {
        "type": "string",
        "enum": list(_FORMATS.choices),
        "default": "url",
        "description": "url; base64: the pictures' bytes in the answer too; path: their path on the server's disk too; "
        "png: the picture itself",
    },
    "async": {"type": "boolean", "default": False, "description": "answer at once, with 202 and the job"},
    "priority": {"type": "integer", "minimum": -10, "maximum": 10, "default": 0, "description": "higher goes first"},
    "webhook_url": {
        "type": ["string", "null"],
        "format": "uri",
        "default": None,
        "description": "where the job is posted to when something happens to it",
    },
    "webhook_events": {
        "type": ["array", "null"],
        "items": {"type": "string", "enum": list(_EVENTS.choices)},
        "default": None,
        "description": "what is told there; none: finished",
    },
    "idempotency_key": {
        "type": ["string", "null"],
        "minLength": 1,
        "maxLength": 255,
        "default": None,
        "description": "a repeated call with the same key gets the same job; also as the Idempotency-Key header",
    },
}
"""What a call may say beside the parameters, as JSON schemas."""


def schema(most: int) -> dict[str, Any]:
    """The JSON schema of a call to ``generate``. ``most``: pictures that a job may have."""
    properties = {name: _property(field) for name, field in _FIELDS.items()} | EXTRAS
    properties["count"] = EXTRAS["count"] | {"maximum": most}
    return {"type": "object", "title": "Generate", "properties": properties, "additionalProperties": False}


def _property(field: dataclasses.Field[Any]) -> dict[str, Any]:
    check, described = field.metadata["check"], {"default": field.default, "description": field.metadata["help"]}
    if field.name == "seed":
        number = {"type": "integer", "minimum": -1, "maximum": MAX_SEED}
        return {"anyOf": [number, {"type": "string", "pattern": r"^(-1|\d{1,20})$"}, {"type": "null"}], **described}
    if isinstance(check, WholeNumber):
        multiple = {"multipleOf": check.multiple} if check.multiple > 1 else {}
        return {"type": "integer", "minimum": check.low, "maximum": check.high, **multiple, **described}
    if isinstance(check, Number):
        low = {"exclusiveMinimum" if check.above_low else "minimum": check.low}
        return {"type": "number", **low, "maximum": check.high, **described}
    if isinstance(check, OneOf):
        return {"type": "string", "enum": list(check.choices), **described}
    return {
        "type": ["string", "null"] if type(None) in get_args(field.type) or field.default is None else "string",
        **described,
    }
