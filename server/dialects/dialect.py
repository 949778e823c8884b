"""What a dialect offers the server: its routes, the wording of its errors, and what it adds to jobs' webhooks and PNGs.

The rest of the server reads these records and knows no dialect by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from server.job import Job
from server.problems import Problem
from server.queue.finishing import PngTexts
from server.web.services import Services

WebhookBody = Callable[[Job, str], dict[str, Any]]
"""A job, and what happened to it (``started``, ``output``, ``progress``, ``finished``) → the JSON that is posted."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One API that clients speak. Each package below ``server.dialects`` has one, named ``DIALECT``."""

    name: str
    """The name in ``SD_DIALECTS``, in a job's row and in ``Webhook.form``."""
    create_router: Callable[[Services], APIRouter]
    """Makes all routes of the dialect, once for each server."""
    owns: Callable[[str], bool]
    """Says whether the dialect words the errors on a path. The first dialect that owns a path words them."""
    error_response: Callable[[Problem], Response]
    """Writes a problem in the dialect's words. The caller adds the problem's headers."""
    always_served: bool = False
    """Whether the dialect is served whatever ``SD_DIALECTS`` holds."""
    public_paths: frozenset[str] = frozenset()
    """Paths that need no key, because what they serve has a name that cannot be guessed."""
    public_prefixes: tuple[str, ...] = ()
    """The beginnings of further paths that need no key."""
    schemas: tuple[type[BaseModel], ...] = ()
    """Models that the routes' OpenAPI entries refer to by ``#/components/schemas/NAME``."""
    webhook_body: WebhookBody | None = None
    """Writes the body of webhooks whose ``form`` is the dialect's name; None where the dialect has no webhooks."""
    png_texts: PngTexts | None = None
    """Writes the texts of a job's PNGs; None where the server's own texts say all there is to say."""
