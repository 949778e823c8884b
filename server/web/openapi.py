"""The OpenAPI document: what FastAPI derives from the routes, corrected where the server knows better."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from server.dialects.dialect import Dialect
from server.web.access import PROBES, Access
from server.web.routing import DirectRoute
from server.web.services import Services

_VALIDATION = ("HTTPValidationError", "ValidationError")
"""The schemas of FastAPI's own answer to bad parameters. Here each dialect answers them in its words, so that the
document must not promise FastAPI's."""

_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic", "description": "the key as password"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def document(app: FastAPI, services: Services, dialects: Iterable[Dialect]) -> dict[str, Any]:
    """Write the document of ``app``, which serves ``dialects``."""
    written = get_openapi(title=app.title, version=app.version, routes=described_routes(app))
    for path, operations in written["paths"].items():
        for operation in operations.values():
            _correct(path, operation, services.access)
    components = written.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _VALIDATION:
        schemas.pop(name, None)
    for model in (each for dialect in dialects for each in dialect.schemas):
        schemas[model.__name__] = model.model_json_schema()
    if services.access.keys_required:
        components["securitySchemes"] = _KEYS
        written["security"] = [{name: []} for name in _KEYS]
    if services.settings.public_url:
        written["servers"] = [{"url": services.settings.public_url}]
    return written


def described_routes(app: FastAPI) -> list[BaseRoute]:
    """List the routes of ``app`` as FastAPI documents them: a direct route by its description."""
    return [route.described if isinstance(route, DirectRoute) else route for route in app.routes]


def _correct(path: str, operation: dict[str, Any], access: Access) -> None:
    answers = operation["responses"]
    if _is_validation(answers.get("422", {})):
        del answers["422"]
    if not any(status.startswith("4") for status in answers) and path not in PROBES:
        words = "the native API" if operation["tags"] == ["Operation"] else operation["tags"][0]
        content = {"application/json": {"schema": {"type": "object"}}}
        answers["default"] = {"description": f"an error, in the words of {words}", "content": content}
    if access.keys_required and access.is_public(path):
        operation["security"] = []


def _is_validation(answer: dict[str, Any]) -> bool:
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return bool(schema.get("$ref") == f"#/components/schemas/{_VALIDATION[0]}")
