"""Routes that take the request as it is, documented as FastAPI documents its own; and what a path takes.

Knows no dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def allowed_methods(scope: Scope) -> str:
    """List the methods that the routes of a call's path take, as the Allow header does; HEAD wherever GET is."""
    routes = [route for route in scope["app"].routes if isinstance(route, Route)]
    found = {method for route in routes if route.matches(scope)[0] != Match.NONE for method in route.methods or ()}
    return ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))


class DirectRoute(Route):
    """A plain route of Starlette's: it calls ``handler`` with the request, and FastAPI spends no time on the call."""

    def __init__(self, path: str, handler: Handler, *, described: APIRoute) -> None:
        """``described``: the same route as FastAPI would have it, which only the OpenAPI document reads."""
        super().__init__(path, handler, methods=described.methods, include_in_schema=described.include_in_schema)
        self.described = described

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as Starlette does, and name the route in the scope, where metrics look for it."""
        match, child_scope = super().matches(scope)
        return match, ({**child_scope, "route": self} if match != Match.NONE else child_scope)


def direct(router: APIRouter, method: str, path: str, **documented: Any) -> Callable[[Handler], Handler]:
    """Decorate a function of the request alone: serve it below ``router``'s prefix by a ``DirectRoute``.

    ``documented``: what ``APIRouter.get`` and its kin take for the OpenAPI document: ``summary``, ``responses``,
    ``openapi_extra``, ``include_in_schema``, ``response_class``, ``status_code`` …
    """
    documented.setdefault("include_in_schema", router.include_in_schema)

    def add(handler: Handler) -> Handler:
        full = router.prefix + path
        described = APIRoute(full, handler, methods=[method], tags=list(router.tags), **documented)
        router.routes.append(DirectRoute(full, handler, described=described))
        return handler

    return add
