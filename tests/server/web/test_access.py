"""The Host header, the Origin of a page and API keys decide who may call, over HTTP and websockets alike."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from server.problems import Problem
from server.settings import Settings
from server.web.access import Access, new_key

KEY, HASH = new_key()
OPEN = Settings()
KEYED = Settings(api_keys={"alice": HASH, "bob": hashlib.sha256(b"user:password").hexdigest()})
EVERYBODY = Settings(host="0.0.0.0", anonymous=True, allowed_hosts=("Pictures.example.org",))
PUBLIC = Settings(public_url="https://pictures.example.org/sd/", cors_origins=("https://app.example.org",))


def connection(
    path: str = "/api/v1/jobs",
    *,
    host: str | None = "127.0.0.1:8000",
    method: str = "GET",
    query: str = "",
    kind: str = "http",
    **headers: str,
) -> HTTPConnection:
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope: dict[str, Any] = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": pairs if host is None else [(b"host", host.encode("latin-1")), *pairs],
        "client": ("192.0.2.7", 50000),
        "server": ("127.0.0.1", 8000),
        "scheme": "http" if kind == "http" else "ws",
    }
    return HTTPConnection(scope | ({"method": method} if kind == "http" else {}))


def refusal(settings: Settings, **call: Any) -> int | None:
    try:
        Access(settings, {"/", "/main.js", "/view"}, ("/api/v1/images/",)).check(connection(**call))
    except Problem as problem:
        return problem.status
    return None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LOCALHOST", "[::1]:8000"])
def test_this_machines_names_are_let_in_on_loopback(host: str) -> None:
    assert refusal(OPEN, host=host) is None


@pytest.mark.parametrize("host", ["evil.example", "192.168.1.7", "10.0.0.1:8000", "127.0.0.1.evil.example", "[::2]"])
def test_other_names_are_not_so_that_no_page_can_rebind_its_own(host: str) -> None:
    assert refusal(OPEN, host=host) == 403
    assert refusal(OPEN, host=host, kind="websocket") == 403


@pytest.mark.parametrize(
    "host", [None, "", "a b", "a/b", "x@localhost", "localhost:", "::1", "localhost:80000000", "é"]
)
def test_what_is_no_host_is_a_bad_request(host: str | None) -> None:
    assert refusal(OPEN, host=host) == 400
    assert refusal(KEYED, host=host, x_api_key=KEY) == 400


def test_two_hosts_are_a_bad_request() -> None:
    twice = connection(host="localhost")
    twice.scope["headers"].append((b"host", b"evil.example"))
    with pytest.raises(Problem, match="is not a host name") as caught:
        Access(OPEN).check(twice)
    assert caught.value.status == 400


def test_callers_are_let_in_by_address_or_by_a_name_in_the_settings() -> None:
    assert refusal(EVERYBODY, host="192.168.1.7:8000") is None
    assert refusal(EVERYBODY, host="pictures.EXAMPLE.org:8000") is None
    assert refusal(EVERYBODY, host="localhost") is None
    assert refusal(EVERYBODY, host="evil.example") == 403


def test_with_keys_elsewhere_any_name_will_do() -> None:
    elsewhere = Settings(host="0.0.0.0", api_keys={"alice": HASH})
    assert refusal(elsewhere, host="anything.example", x_api_key=KEY) is None
    assert refusal(KEYED, host="anything.example", x_api_key=KEY) == 403


def test_the_public_urls_host_is_let_in_and_names_the_server() -> None:
    assert refusal(PUBLIC, host="pictures.example.org") is None
    assert Access(PUBLIC).base_url(connection()) == "https://pictures.example.org/sd"
    assert Access(OPEN).base_url(connection(host="localhost:8000")) == "http://localhost:8000"
    assert Access(OPEN).base_url(connection(host="[::1]:8000", kind="websocket")) == "http://[::1]:8000"


def test_another_sites_page_may_change_nothing() -> None:
    evil = "https://evil.example"
    assert refusal(OPEN, method="POST", origin=evil) == 403
    assert refusal(OPEN, method="DELETE", origin=evil) == 403
    assert refusal(OPEN, kind="websocket", origin=evil) == 403
    assert refusal(OPEN, method="POST", origin="null") == 403
    assert refusal(OPEN, method="POST", origin="http://[") == 403
    assert refusal(OPEN, method="GET", origin=evil) is None


def test_the_servers_own_page_and_those_in_the_settings_may() -> None:
    assert refusal(OPEN, method="POST", origin="http://127.0.0.1:8000") is None
    assert refusal(OPEN, method="POST", origin="http://localhost:8000") == 403
    assert refusal(PUBLIC, method="POST", origin="https://pictures.example.org") is None
    assert refusal(PUBLIC, method="POST", origin="https://APP.example.org") is None
    assert refusal(Settings(cors_origins=("*",)), method="POST", origin="https://evil.example") is None


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY}"},
        {"authorization": f"Token {KEY}"},
        {"authorization": basic(f"anybody:{KEY}")},
        {"authorization": basic("user:password")},
        {"x_api_key": KEY},
    ],
)
def test_a_key_is_taken_wherever_clients_put_it(headers: dict[str, str]) -> None:
    assert refusal(KEYED, **headers) is None
    assert refusal(KEYED, kind="websocket", **headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": KEY},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": f"Bearer {HASH}"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()},
        {"authorization": basic("user:other")},
        {"x_api_key": ""},
        {"x_api_key": "\xe9"},
    ],
)
def test_anything_else_is_no_key(headers: dict[str, str]) -> None:
    assert refusal(KEYED, **headers) == 401
    assert refusal(KEYED, kind="websocket", **headers) == 401


def test_a_key_in_the_url_is_for_websockets_alone() -> None:
    assert refusal(KEYED, kind="websocket", query=f"clientId=1&token={KEY}") is None
    assert refusal(KEYED, query=f"token={KEY}") == 401


@pytest.mark.parametrize("path", ["/", "/main.js", "/healthz", "/readyz", "/api/v1/images/x.png", "/view"])
def test_the_page_the_probes_and_pictures_need_no_key(path: str) -> None:
    assert refusal(KEYED, path=path) is None


@pytest.mark.parametrize(
    "path", ["/metrics", "/openapi.json", "/api/v1/images", "/main.js/x", "/view/x", "/prompt", "//", "/x.js"]
)
def test_everything_else_does(path: str) -> None:
    assert refusal(KEYED, path=path) == 401


def test_probes_may_name_the_server_as_they_like() -> None:
    assert refusal(OPEN, path="/healthz", host="10.1.2.3") is None
    assert refusal(OPEN, path="/", host="10.1.2.3") == 403


def test_a_client_is_its_key_or_its_address() -> None:
    access, call = Access(KEYED), connection(x_api_key=KEY)
    access.check(call)
    assert access.client_of(call) == "alice"
    access, call = Access(OPEN), connection()
    access.check(call)
    assert access.client_of(call) == "192.0.2.7"


def test_each_new_key_is_another() -> None:
    key, digest = new_key()
    assert key != KEY
    assert hashlib.sha256(key.encode()).hexdigest() == digest
