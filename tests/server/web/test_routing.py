"""Routes that are called directly, and those that FastAPI still has to look at."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from server.dialects.native import DIALECT
from server.problems import bad_request
from server.web.errors import add_error_handlers, answer_with
from server.web.routing import DirectRoute


@pytest.fixture
def client() -> TestClient:
    """A server with routes of every kind; ``made`` notes that a dependency was called."""
    router = APIRouter(route_class=DirectRoute)

    @router.post("/direct", response_model=None)
    async def direct(call: Request) -> Response:
        return JSONResponse({"body": (await call.body()).decode(), "path": call.url.path}, 201)

    @router.get("/refused", response_model=None)
    async def refused(http: Request) -> Response:
        raise bad_request("size", 7, "8")

    @router.get("/path/{name}", response_model=None)
    async def path(http: Request, name: str) -> Response:
        return JSONResponse({"name": name})

    @router.get("/query", response_model=None)
    async def query(http: Request, number: int = Query(ge=3)) -> Response:
        return JSONResponse({"number": number})

    @router.get("/sync", response_model=None)
    def sync(http: Request) -> Response:
        return JSONResponse({"in": "a thread"})

    @router.get("/headers", response_model=None)
    async def headers(http: Request, response: Response) -> Response:
        return JSONResponse({"status": response.status_code})

    @router.get("/plain", response_model=None)
    async def plain(http: Request):  # type: ignore[no-untyped-def]
        return {"plain": "dict"}

    @router.get("/depends", response_model=None, dependencies=[Depends(lambda: made.append(1))])
    async def depends(http: Request) -> Response:
        return JSONResponse({})

    @router.get("/model")
    async def model(http: Request) -> dict[str, Any]:
        return {"given": "as a dict"}

    made: list[int] = []
    app = FastAPI()
    app.state.made = made
    add_error_handlers(app, answer_with([DIALECT]))
    app.router.routes += router.routes
    return TestClient(app, raise_server_exceptions=False)


def test_a_function_that_wants_the_request_alone_is_handed_it(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("fastapi.routing.solve_dependencies")
    answered = client.post("/direct", content="as it is", headers={"Content-Type": "application/json"})
    assert (answered.status_code, answered.json()) == (201, {"body": "as it is", "path": "/direct"})
    assert client.get("/path/a").status_code == 500


def test_what_it_raises_is_answered_as_everywhere(client: TestClient) -> None:
    answered = client.get("/refused")
    assert (answered.status_code, answered.headers["content-type"]) == (400, "application/problem+json")
    assert answered.json()["field"] == "size"


def test_others_are_called_by_fastapi(client: TestClient) -> None:
    assert client.get("/path/a").json() == {"name": "a"}
    assert client.get("/query", params={"number": 3}).json() == {"number": 3}
    assert client.get("/query", params={"number": 2}).status_code == 400
    assert client.get("/model").json() == {"given": "as a dict"}
    assert client.get("/sync").json() == {"in": "a thread"}
    assert client.get("/headers").json() == {"status": None}
    assert client.get("/plain").json() == {"plain": "dict"}
    assert client.get("/depends").json() == {}
    assert client.app.state.made == [1]  # type: ignore[attr-defined]


def test_a_router_in_a_router_keeps_its_dependencies() -> None:
    def guard() -> None:
        raise bad_request("key", "none", "one")

    router, app = APIRouter(route_class=DirectRoute), FastAPI()

    @router.get("/direct", response_model=None)
    async def direct(http: Request) -> Response:
        return JSONResponse({})

    add_error_handlers(app, answer_with([DIALECT]))
    app.include_router(router, dependencies=[Depends(guard)])
    assert TestClient(app).get("/direct").status_code == 400


def test_the_document_is_the_same() -> None:
    documents = []
    for kind in (APIRoute, DirectRoute):
        router, app = APIRouter(route_class=kind), FastAPI()

        @router.post("/direct", summary="Does it", responses={404: {"description": "no such thing"}})
        async def direct(http: Request) -> Response:
            return JSONResponse({})

        app.router.routes += router.routes
        documents.append(app.openapi())
    assert documents[0] == documents[1]
