"""Everybody can use the page: axe-core finds nothing in any of its states, and the keyboard alone suffices."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.server.conftest import RunningServer
from tests.server.page.person import opened, pictures, tiles, watched

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def findings(page: Page) -> list[Any]:
    """What axe-core finds wrong, once animations are over."""
    page.wait_for_timeout(400)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [(each["id"], [node["html"][:160] for node in each["nodes"]]) for each in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (1280, 720), (390, 844)])
def test_axe_finds_nothing(server: RunningServer, browser: Browser, size: tuple[int, int], scheme: Any) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, bypass_csp=True)
    with watched(context) as page:
        opened(page, server)
        page.evaluate(AXE)
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert findings(page) == []
        page.fill("#count", "2")
        page.click("#generate")
        expect(tiles(page)).to_have_count(2)
        server.backend.step_seconds = 0.5
        for _ in range(2):
            page.click("#generate")
            expect(page.locator("#generate")).to_be_enabled()
        expect(page.locator("#queue li")).to_have_count(2)
        assert findings(page) == []
        page.click("#cancel-all")
        page.fill("#width", "500")
        page.click("#generate")
        page.click("#select")
        tiles(page).first.click()
        assert findings(page) == []
        page.click("#select")
        tiles(page).first.click()
        expect(page.locator("#viewer")).to_be_visible()
        assert findings(page) == []
        page.keyboard.press("Escape")
        for opener in ("#help", "text=Styles"):
            page.click(opener)
            assert findings(page) == []
            page.keyboard.press("Escape")


def test_the_keyboard_alone_makes_opens_and_closes_a_picture(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.keyboard.press("?")
    expect(page.locator("#menu")).to_contain_text("Ctrl ⏎")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#prompt")).to_be_focused()
    page.keyboard.type(" and ?/z")
    page.keyboard.press("Control+Enter")
    expect(pictures(page)).to_have_count(1)
    expect(page.locator("#said")).to_have_text("Done")
    pictures(page).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#viewer")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    assert server.backend.requests[-1].prompt.endswith(" and ?/z")


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_shows_everything_and_its_buttons_are_large_enough(
    server: RunningServer, phone: Page, width: int
) -> None:
    phone.set_viewport_size({"width": width, "height": 740})
    opened(phone, server)
    phone.click("#settings > summary")
    assert phone.evaluate("document.documentElement.scrollWidth") <= width
    small = phone.evaluate(
        """[...document.querySelectorAll("button, input:not([type=checkbox]), select, textarea")]
            .filter((each) => each.checkVisibility() && !each.closest(".unseen"))
            .filter((each) => each.offsetHeight < 28 || each.offsetWidth < 24)
            .map((each) => each.id || each.className)"""
    )
    assert small == []
    sizes = phone.evaluate(
        "[...document.querySelectorAll('textarea, select')].map((e) => getComputedStyle(e).fontSize)"
    )
    assert set(sizes) == {"16px"}
