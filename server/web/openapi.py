"""The OpenAPI document: what FastAPI derives from the routes, put right where it cannot know better."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI

from server.dialects.dialect import Dialect
from server.web.access import Access
from server.web.services import Services

_NEVER = "HTTPValidationError"
"""FastAPI's own answer to bad parameters; here they are answered in each dialect's words."""

_LONG_NAME = re.compile(r"server__dialects__([a-z]+)__(?:[a-z_]+__)?([A-Z]\w*)")

_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic", "description": "the key as password"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def document(app: FastAPI, services: Services, dialects: Iterable[Dialect]) -> dict[str, Any]:
    """The document of ``app``."""
    found = FastAPI.openapi(app)
    for path, operations in found["paths"].items():
        for operation in operations.values():
            _correct(path, operation, services.access)
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in (_NEVER, "ValidationError"):
        schemas.pop(name, None)
    for model in (each for dialect in dialects for each in dialect.schemas):
        schemas[model.__name__] = model.model_json_schema()
    if services.access.keys_required:
        components["securitySchemes"] = _KEYS
        found["security"] = [{name: []} for name in _KEYS]
    if services.settings.public_url:
        found["servers"] = [{"url": services.settings.public_url}]
    shortened: dict[str, Any] = json.loads(_LONG_NAME.sub(lambda match: match[1].title() + match[2], json.dumps(found)))
    return shortened


def _correct(path: str, operation: dict[str, Any], access: Access) -> None:
    answers = operation["responses"]
    if _NEVER in json.dumps(answers.get("422", {})):
        del answers["422"]
    if not any(status.startswith("4") for status in answers) and path not in ("/healthz", "/readyz"):
        words = "the native API" if operation["tags"] == ["Operation"] else operation["tags"][0]
        content = {"application/json": {"schema": {"type": "object"}}}
        answers["default"] = {"description": f"an error, in the words of {words}", "content": content}
    if access.keys_required and access.is_public(path):
        operation["security"] = []
