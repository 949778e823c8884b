"""Tests what all paths have in common: who may call, how errors are worded, and the page."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
import websocket

from engine import EngineClosed
from server.app import create_app, running
from server.backends.instant import InstantBackend
from server.dialects.registry import DIALECTS
from server.settings import DIALECTS as NAMES
from server.settings import Settings
from server.store import StoreFailed
from tests.server.conftest import RunningServer
from tests.server.following import wait_for
from tests.server.keys import KEY, KEYS
from tests.server.queues import until

WORDED = {
    "/api/v1/jobs/x": ("kind", "field"),
    "/v1/models/x": ("error",),
    "/sdapi/v1/progress": ("error", "detail"),
    "/v1/predictions/x": ("detail",),
    "/nothing": ("kind", "field"),
}
"""A path of each dialect that is worded as JSON, and the fields of its errors."""


def test_every_dialect_that_can_be_named_is_there() -> None:
    assert [dialect.name for dialect in DIALECTS] == [*NAMES, "native"]


@pytest.mark.parametrize(("path", "members"), WORDED.items())
def test_without_a_key_each_dialect_says_so_in_its_own_words(
    open_server: Any, path: str, members: tuple[str, ...]
) -> None:
    server = open_server(api_keys=KEYS)
    answer = httpx.get(server.url + path)
    assert answer.status_code == 401
    assert 'realm="' in answer.headers["www-authenticate"]
    assert set(members) <= answer.json().keys()
    assert httpx.get(server.url + path, headers={"X-API-Key": KEY}).status_code != 401


def test_pictures_need_no_key_and_jobs_bear_the_keys_name(open_server: Any) -> None:
    server = open_server(api_keys=KEYS)
    answer = httpx.post(f"{server.url}/api/v1/generate", json={}, headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 200
    assert httpx.get(answer.json()["output_url"]).status_code == 200
    assert httpx.get(answer.json()["url"]).status_code == 401


def handshake(server: RunningServer, query: str = "", **options: Any) -> int:
    """Return the status of the answer to a websocket's opening."""
    try:
        connection = websocket.create_connection(
            server.url.replace("http", "ws") + "/ws?clientId=1" + query,
            suppress_origin="origin" not in options,
            **options,
        )
    except websocket.WebSocketBadStatusException as error:
        return int(error.status_code)
    connection.close()
    return 101


def test_websockets_are_checked_as_requests_are(open_server: Any) -> None:
    server = open_server(api_keys=KEYS)
    assert handshake(server) == 403
    assert handshake(server, "&token=wrong") == 403
    assert handshake(server, f"&token={KEY}") == 101
    assert handshake(server, header=[f"Authorization: Bearer {KEY}"]) == 101
    assert handshake(server, f"&token={KEY}", origin="http://evil.example") == 403
    assert handshake(server, f"&token={KEY}", origin=server.url) == 101
    assert handshake(server, f"&token={KEY}", host="evil.example") == 403


def test_unknown_paths_and_methods_are_named(server: RunningServer) -> None:
    assert httpx.get(f"{server.url}/nothing").json()["kind"] == "not_found"
    answer = httpx.put(f"{server.url}/api/v1/generate")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["kind"] == "method_not_allowed"
    for path, allowed in {"/queue": "GET, HEAD, POST", "/view": "GET, HEAD", "/": "GET, HEAD"}.items():
        answer = httpx.delete(server.url + path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_a_dialect_that_is_off_is_not_there(open_server: Any) -> None:
    server = open_server(dialects=("sdapi",))
    assert httpx.get(f"{server.url}/v1/models").status_code == 404
    assert httpx.get(f"{server.url}/sdapi/v1/samplers").status_code == 200


def test_the_server_listens_while_its_model_loads(open_server: Any) -> None:
    server = open_server(InstantBackend())
    server.backend._ready = False  # as before its start
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert (httpx.get(f"{server.url}/readyz").status_code, httpx.get(f"{server.url}/readyz").json()) == (
        503,
        {"status": "loading"},
    )
    assert httpx.post(f"{server.url}/api/v1/generate", json={"async": True}).status_code == 202
    server.backend._ready = True
    assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_a_server_that_is_closing_is_not_ready(server: RunningServer) -> None:
    server.services.closing = True
    assert httpx.get(f"{server.url}/readyz").json() == {"status": "shutting down"}
    server.services.closing = False


class Defect(Exception):
    """An error that the server does not expect."""


def test_a_defect_is_a_500_in_the_dialects_words_and_a_log_line(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise Defect("the secret of it")

    monkeypatch.setattr(server.services.jobs, "accept", fail)
    with caplog.at_level(logging.ERROR, "server.web.telemetry"):
        native = httpx.post(f"{server.url}/api/v1/generate", json={})
        openai = httpx.post(f"{server.url}/v1/images/generations", json={"prompt": "a boat"})
    assert (native.status_code, native.json()["kind"]) == (500, "internal")
    assert openai.status_code == 500
    assert "message" in openai.json()["error"]
    assert "secret" not in native.text + openai.text
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_a_database_that_fails_is_no_defect_of_the_request(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreFailed("the disk is full")

    monkeypatch.setattr(server.services.jobs, "accept", fail)
    monkeypatch.setattr(server.services.jobs, "find", fail)
    answer = httpx.post(f"{server.url}/api/v1/generate", json={})
    assert (answer.status_code, answer.json()["kind"]) == (503, "database")
    assert httpx.get(f"{server.url}/readyz").json() == {"status": "the database fails"}


def test_each_request_and_each_job_is_logged_without_its_prompt(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "server"):
        answer = httpx.post(
            f"{server.url}/api/v1/generate", json={"prompt": "my secret garden"}, headers={"X-Request-Id": "mine"}
        )
        wait_for(lambda: {"job succeeded", "POST /api/v1/generate"} <= {record.message for record in caplog.records})
    assert answer.headers["x-request-id"] == "mine"
    logged = {record.message: vars(record) for record in caplog.records}
    assert logged["POST /api/v1/generate"]["job"] == answer.json()["id"]
    assert logged["POST /api/v1/generate"]["status"] == 200
    for message in ("job accepted", "job started", "job succeeded"):
        assert logged[message]["job"] == answer.json()["id"]
        assert logged[message]["dialect"] == "native"
    assert not any(
        "secret garden" in str(vars(record)) for record in caplog.records if record.name.startswith("server.")
    )


@pytest.mark.anyio
async def test_a_backend_that_stops_by_itself_ends_the_server(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.app._WATCH_SECONDS", 0.0)
    errors: list[Exception] = []

    backend = InstantBackend()
    app = create_app(settings, backend)
    app.state.give_up = errors.append
    async with running(app):
        await until(lambda: backend.ready)
        assert errors == []
        await backend.close()
        await until(lambda: errors)
    assert isinstance(errors[0], EngineClosed)


def test_the_instant_backend_has_as_many_slots_as_the_settings_say(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"max_in_flight": 3}))
    assert app.state.services.backend.capacity == 3
