"""Tests what every connection passes: the limit on bodies, CORS, security headers, HEAD."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from server.app import create_app
from server.backends.instant import InstantBackend
from server.settings import Settings
from server.web.pages import PAGE
from tests.server.conftest import RunningServer
from tests.server.keys import KEY, KEYS


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 1024):
        yield b" " * 1024


@pytest.mark.parametrize("path", ["/api/v1/generate", "/v1/images/generations", "/prompt", "/hf"])
def test_a_body_is_limited_whether_its_length_is_declared_or_not(open_server: Any, path: str) -> None:
    server = open_server(max_body_bytes=8192)
    declared = httpx.post(server.url + path, content=b" " * 8193)
    counted = httpx.post(server.url + path, content=chunks(65536))
    assert (declared.status_code, counted.status_code) == (413, 413)
    assert "8192" in declared.text
    assert "8192" in counted.text
    within = httpx.post(f"{server.url}/api/v1/generate", content=b"{}" + b" " * 8000)
    assert within.status_code == 200


def test_pages_of_named_origins_may_call_and_read(open_server: Any) -> None:
    server = open_server(cors_origins=("https://app.example",), api_keys=KEYS)
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    preflight = httpx.options(
        f"{server.url}/api/v1/generate", headers=asked | {"Access-Control-Request-Headers": "x-api-key,content-type"}
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    headers = {"Origin": "https://app.example", "X-API-Key": KEY}
    answer = httpx.post(f"{server.url}/api/v1/generate", json={}, headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    own = {"Content-Location", "Location", "Preference-Applied", "Retry-After", "X-Job-Id", "X-Seed", "X-Total-Count"}
    assert own <= exposed
    refused = httpx.post(f"{server.url}/api/v1/generate", json={}, headers={"Origin": "https://app.example"})
    assert refused.headers["access-control-allow-origin"] == "https://app.example"  # else the page cannot read why
    other = httpx.post(f"{server.url}/api/v1/generate", json={}, headers=headers | {"Origin": "https://evil.example"})
    assert other.status_code == 403


def test_the_page_and_its_files_are_served_with_care(server: RunningServer) -> None:
    page = httpx.get(f"{server.url}/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert httpx.get(f"{server.url}/", headers={"If-None-Match": page.headers["etag"]}).status_code == 304
    for file in PAGE.iterdir():
        answer = httpx.get(f"{server.url}/{file.name}")
        before, _, after = file.read_bytes().partition(b"{{description}}")  # which the page's own stands in place of
        assert answer.content.startswith(before)
        assert answer.content.endswith(after)
        assert after or answer.content == before
    assert httpx.get(f"{server.url}/../app.py").status_code == 404
    assert httpx.get(f"{server.url}/%2e%2e/app.py").status_code == 404


HEADED = {
    **dict.fromkeys(["/", "/healthz", "/readyz", "/queue", "/api/history", "/system_stats", "/object_info"], 200),
    **dict.fromkeys(["/sdapi/v1/options", "/sdapi/v1/samplers", "/v1/models", "/api/v1/status", "/openapi.json"], 200),
    **dict.fromkeys(["/view?filename=x", "/api/v1/jobs/x", "/v1/models/x", "/nothing"], 404),
    "/api/v1/jobs?limit=0": 400,
    "/api/v1/generate": 405,
}


@pytest.mark.parametrize(("path", "status"), HEADED.items())
def test_head_has_the_headers_of_get(server: RunningServer, path: str, status: int) -> None:
    headed, got = httpx.head(server.url + path), httpx.get(server.url + path)
    assert (headed.status_code, got.status_code, headed.content) == (status, status, b"")
    changing = ("x-request-id", "date")
    of_both = [
        {name: answer.headers[name] for name in answer.headers if name not in changing} for answer in (headed, got)
    ]
    assert of_both[0] == of_both[1]
    assert int(headed.headers["content-length"]) == len(got.content)


def test_head_of_what_goes_on_is_answered_at_once(server: RunningServer) -> None:
    server.backend.step_seconds = 60
    job = httpx.post(f"{server.url}/api/v1/generate", json={"async": True}).json()
    answer = httpx.head(job["events_url"], timeout=10)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert httpx.get(job["url"]).json()["state"] == "running"
    httpx.delete(job["url"])
    assert 'method="HEAD",route="/api/v1/jobs/{job_id}/events",status="200"' in httpx.get(f"{server.url}/metrics").text


def test_head_sends_no_body_whatever_carries_it(settings: Settings) -> None:
    with TestClient(create_app(settings, InstantBackend()), base_url="http://localhost") as client:
        for path in ("/healthz", "/v1/models", "/nothing", "/metrics"):
            answer = client.head(path)
            assert (answer.status_code, answer.content) == (404 if path == "/nothing" else 200, b"")
