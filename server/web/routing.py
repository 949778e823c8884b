"""Routes whose function takes the call as it is and answers it itself; and what a path takes. Knows no dialect."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from engine.formats.json_text import read_json

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def allowed_methods(scope: Scope) -> str:
    """What the routes of a call's path take together, as the Allow header says it; HEAD wherever GET is."""
    routes = [route for route in scope["app"].routes if isinstance(route, Route)]
    found = {method for route in routes if route.matches(scope)[0] != Match.NONE for method in route.methods or ()}
    return ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))


class _JsonRequest(Request):
    """A call whose body is read as the other routes read theirs."""

    async def json(self) -> Any:
        try:
            return read_json(await self.body())
        except json.JSONDecodeError:
            raise
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None  # what FastAPI tells as a mistake of the caller's


class DirectRoute(APIRoute):
    """Calls a coroutine function of the request alone at once, and so leaves FastAPI nothing to find out.

    Such a function is declared to return a ``Response``. All others are called as FastAPI calls them; so is each where
    its router is included in another, whose dependencies the route itself does not know.
    """

    _made = False

    def get_route_handler(self) -> Handler:
        first, self._made = not self._made, True
        if not first or not self._wants_the_request_alone():
            return self._taking_json(super().get_route_handler())
        function = self.endpoint

        async def handle(request: Request) -> Response:
            response: Response = await function(request)
            return response

        return handle

    def _taking_json(self, handler: Handler) -> Handler:
        """``handler``, for which a body is JSON, within our limits, whatever its Content-Type says, as for the other
        routes: many clients send none, and curl that of a form."""
        if self.body_field is None:
            return handler

        async def handle(request: Request) -> Response:
            scope = request.scope
            if not request.headers.get("content-type", "").startswith(("application/json", "multipart/")):
                others = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
                scope = {**scope, "headers": [*others, (b"content-type", b"application/json")]}
            return await handler(_JsonRequest(scope, request.receive))

        return handle

    def _wants_the_request_alone(self) -> bool:
        if self.dependant.dependencies or not inspect.iscoroutinefunction(self.endpoint):
            return False
        signature = inspect.signature(self.endpoint, eval_str=True)
        given = [parameter.annotation for parameter in signature.parameters.values()]
        answered = signature.return_annotation
        return given == [Request] and isinstance(answered, type) and issubclass(answered, Response)
