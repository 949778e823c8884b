"""Routes whose function takes the call as it is and answers it itself. Knows no dialect."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class DirectRoute(APIRoute):
    """Calls its function at once where that wants nothing but the request, and so leaves FastAPI nothing to find out.

    Such a function returns a ``Response``. All others are called as FastAPI calls them.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        wanted = self.dependant
        others = (wanted.path_params, wanted.query_params, wanted.header_params, wanted.cookie_params)
        name, function = wanted.request_param_name, self.endpoint
        if name is None or self.response_field or any((*others, wanted.body_params, wanted.dependencies)):
            return super().get_route_handler()

        async def handle(request: Request) -> Response:
            response: Response = await function(**{name: request})
            return response

        return handle
