"""The API's reference is shown in the browser, offline, and tries calls with the page's key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from server.backends.instant import InstantBackend
from server.web.access import new_key
from tests.server.conftest import RunningServer
from tests.server.page.person import opened


def test_the_api_reference_is_shown_and_tries_a_call(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.click("text=API reference")
    expect(page.locator(".swagger-ui .info .title")).to_contain_text("Stable Diffusion engine")
    tags = {path["tags"][0] for each in document(server)["paths"].values() for path in each.values()}
    expect(page.locator(".opblock-tag")).to_have_count(len(tags))
    operation = page.locator("#operations-Operation-healthz_healthz_get")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("200")


def test_the_api_reference_asks_for_the_key_and_calls_with_it(
    open_server: Callable[..., RunningServer], mistaken: Page
) -> None:
    key, digest = new_key()
    server = open_server(InstantBackend(), api_keys={"page": digest})
    page = mistaken
    page.goto(f"{server.url}/docs")
    page.fill("#key", key)
    page.keyboard.press("Enter")
    operation = page.locator("#operations-Native-list_samplers_api_v1_samplers_get")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("200")


def document(server: RunningServer) -> dict[str, Any]:
    return dict(httpx.get(f"{server.url}/openapi.json").json())
