"""Direct routes are served by Starlette alone, and documented and refused as FastAPI's own."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.testclient import TestClient

from server.dialects.native import DIALECT
from server.problems import bad_request
from server.web.errors import add_error_handlers, answer_with
from server.web.openapi import described_routes
from server.web.routing import direct

DOCUMENTED: dict[str, Any] = {"summary": "Does it", "responses": {404: {"description": "no such thing"}}}


@pytest.fixture
def app() -> FastAPI:
    """An app with routes of both kinds, below a prefix."""
    router, app = APIRouter(prefix="/sub", tags=["Things"]), FastAPI()

    @direct(router, "POST", "/direct", **DOCUMENTED)
    async def posted(call: Request) -> Response:
        return JSONResponse({"body": (await call.body()).decode(), "path": call.url.path}, 201)

    @direct(router, "GET", "/direct")
    async def got(http: Request) -> Response:
        return JSONResponse({"route": http.scope["route"].path})

    @direct(router, "GET", "/refused", include_in_schema=False)
    async def refused(http: Request) -> Response:
        raise bad_request("size", 7, "8")

    @router.get("/path/{name}", response_model=None)
    async def path(http: Request, name: str) -> Response:
        return JSONResponse({"name": name})

    add_error_handlers(app, answer_with([DIALECT]))
    app.router.routes += router.routes
    return app


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


def test_a_direct_route_hands_its_function_the_request_without_fastapi(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("fastapi.routing.solve_dependencies")
    answered = client.post("/sub/direct", content="as it is", headers={"Content-Type": "application/json"})
    assert (answered.status_code, answered.json()) == (201, {"body": "as it is", "path": "/sub/direct"})
    assert client.get("/sub/path/a").status_code == 500


def test_a_direct_route_is_named_in_the_scope(client: TestClient) -> None:
    assert client.get("/sub/direct").json() == {"route": "/sub/direct"}


def test_what_a_direct_route_raises_is_answered_as_everywhere(client: TestClient) -> None:
    answered = client.get("/sub/refused")
    assert (answered.status_code, answered.headers["content-type"]) == (400, "application/problem+json")
    assert answered.json()["field"] == "size"


def test_another_method_is_refused_with_those_that_are_allowed(client: TestClient) -> None:
    answered = client.delete("/sub/direct")
    assert (answered.status_code, answered.headers["allow"]) == (405, "GET, HEAD, POST")


def test_fastapis_routes_work_beside_direct_ones(client: TestClient) -> None:
    assert client.get("/sub/path/a").json() == {"name": "a"}


def test_a_direct_route_is_documented_as_fastapi_would_document_it(app: FastAPI) -> None:
    ours = FastAPI(routes=described_routes(app)).openapi()
    router, fastapis = APIRouter(prefix="/sub", tags=["Things"]), FastAPI()

    @router.post("/direct", **DOCUMENTED)
    async def posted(call: Request) -> Response:
        return JSONResponse({})

    fastapis.router.routes += router.routes
    assert ours["paths"]["/sub/direct"]["post"] == fastapis.openapi()["paths"]["/sub/direct"]["post"]
    assert list(ours["paths"]) == ["/sub/direct", "/sub/path/{name}"]
