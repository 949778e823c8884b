"""Routes whose function takes the call as it is and answers it itself; and what a path takes. Knows no dialect."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope


def allowed_methods(scope: Scope) -> str:
    """What the routes of a call's path take together, as the Allow header says it; HEAD wherever GET is."""
    routes = [route for route in scope["app"].routes if isinstance(route, Route)]
    found = {method for route in routes if route.matches(scope)[0] != Match.NONE for method in route.methods or ()}
    return ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))


class DirectRoute(APIRoute):
    """Calls a coroutine function of the request alone at once, and so leaves FastAPI nothing to find out.

    Such a function is declared to return a ``Response``. All others are called as FastAPI calls them; so is each where
    its router is included in another, whose dependencies the route itself does not know.
    """

    _made = False

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        first, self._made = not self._made, True
        if not first or not self._wants_the_request_alone():
            return super().get_route_handler()
        function = self.endpoint

        async def handle(request: Request) -> Response:
            response: Response = await function(request)
            return response

        return handle

    def _wants_the_request_alone(self) -> bool:
        if self.dependant.dependencies or not inspect.iscoroutinefunction(self.endpoint):
            return False
        signature = inspect.signature(self.endpoint, eval_str=True)
        given = [parameter.annotation for parameter in signature.parameters.values()]
        answered = signature.return_annotation
        return given == [Request] and isinstance(answered, type) and issubclass(answered, Response)
