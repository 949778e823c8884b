"""The page says whether the server is there, keeps what was asked for over restarts, and keeps keys as one chooses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from server.backends.instant import InstantBackend
from server.web.access import new_key
from tests.server.conftest import RunningServer
from tests.server.page.person import opened, pictures, tiles, watched
from tests.server.process import ServerProcess

SERVER = [sys.executable, "-m", "server", "--backend=instant"]


@pytest.mark.parametrize("size", [(1280, 720), (390, 844)])
def test_a_server_that_dies_is_said_and_a_cancel_reaches_it_when_it_is_back(
    browser: Browser, tmp_path: Path, size: tuple[int, int]
) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    with ServerProcess(SERVER, tmp_path, instant_step_seconds="0.2") as process, watched(context, down=True) as page:
        process.start()
        page.goto(process.url)
        expect(page.locator("#health")).to_have_text("Ready")
        page.evaluate("document.getElementById('settings').open = true")
        page.fill("#steps", "400")
        page.click("#generate")
        expect(page.locator("#status")).to_contain_text("of 400")
        process.kill()
        expect(page.locator("#banner")).to_contain_text("cannot be reached")
        expect(page.locator("#banner")).to_be_in_viewport()
        page.fill("#prompt", "written meanwhile")
        page.click("#cancel")
        process.start()
        expect(page.locator("#banner")).to_be_hidden(timeout=40_000)
        expect(page.locator("#status")).to_have_text("Cancelled", timeout=40_000)
        expect(page.locator("#prompt")).to_have_value("written meanwhile")
        process.settle()
        assert [job["state"] for job in process.get("/api/v1/jobs")["jobs"]] == ["cancelled"]
        expect(page.locator("#cancel")).to_be_disabled()


def test_a_running_job_is_followed_on_after_a_restart(browser: Browser, tmp_path: Path) -> None:
    with (
        ServerProcess(SERVER, tmp_path, instant_step_seconds="0.1") as process,
        watched(browser.new_context(), down=True) as page,
    ):
        process.start()
        page.goto(process.url)
        page.fill("#steps", "60")
        page.click("#generate")
        expect(page.locator("#status")).to_contain_text("of 60")
        process.kill()
        expect(page.locator("#health")).to_have_text("Offline")
        process.start()
        expect(pictures(page)).to_have_count(1, timeout=40_000)
        expect(tiles(page)).to_have_count(1)


def test_the_key_is_asked_for_before_anything_is_called(open_server: Callable[..., RunningServer], page: Page) -> None:
    key, digest = new_key()
    server = open_server(InstantBackend(), api_keys={"page": digest})
    page.goto(server.url)
    page.fill("#key", key)
    page.keyboard.press("Enter")
    expect(page.locator("#health")).to_have_text("Ready")
    page.click("#generate")
    expect(pictures(page)).to_have_count(1)
    page.reload()
    expect(tiles(page)).to_have_count(1)
    other = page.context.new_page()
    other.goto(server.url)
    expect(other.locator("#key")).to_be_visible()


def test_a_wrong_key_is_said_and_a_right_one_remembered(
    open_server: Callable[..., RunningServer], mistaken: Page
) -> None:
    key, digest = new_key()
    server = open_server(InstantBackend(), api_keys={"page": digest})
    mistaken.goto(server.url)
    mistaken.fill("#key", "wrong")
    mistaken.keyboard.press("Enter")
    expect(mistaken.locator("#key-wrong")).to_have_text("The server does not know this key.")
    mistaken.fill("#key", key)
    mistaken.check("#key-keep")
    mistaken.keyboard.press("Enter")
    expect(mistaken.locator("#health")).to_have_text("Ready")
    other = mistaken.context.new_page()
    other.goto(server.url)
    expect(other.locator("#health")).to_have_text("Ready")


def test_it_works_below_a_path_of_a_proxy(server: RunningServer, page: Page) -> None:
    asked: list[str] = []

    def forward(route: Route) -> None:
        asked.append(route.request.url)
        route.continue_(url=route.request.url.replace("/sd/", "/", 1))

    page.on("request", lambda request: asked.append(request.url))
    page.route(f"{server.url}/sd/**", forward)
    page.goto(f"{server.url}/sd/")
    page.click("#generate")
    expect(pictures(page)).to_have_count(1)
    tiles(page).first.click()
    expect(page.locator("#viewer-picture")).to_have_js_property("naturalWidth", 512)
    page.keyboard.press("Escape")
    assert [url for url in asked if not url.startswith((f"{server.url}/sd/", "data:"))] == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_theme_is_there_before_the_first_paint(server: RunningServer, page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.add_init_script(
        "requestAnimationFrame(() => { window.first = document.documentElement.dataset.theme ?? 'none'; })"
    )
    opened(page, server)
    assert page.evaluate("window.first") == scheme
    page.click("#theme")
    page.reload()
    expect(page.locator("#health")).to_have_text("Ready")
    assert page.evaluate("window.first") == {"dark": "light", "light": "dark"}[scheme]
