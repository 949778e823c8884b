"""Fixtures with the page in a real browser, as a person at a desk or with a phone sees it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.server.page.person import SECONDS, watched

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "Debian's chromium is needed: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Yield a page at a desk, which fails its test for anything red in the console and for calls to other servers."""
    expect.set_options(timeout=SECONDS)
    with watched(browser.new_context(viewport={"width": 1280, "height": 720})) as page:
        yield page


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    """Yield the same on a phone."""
    expect.set_options(timeout=SECONDS)
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    with watched(context) as page:
        yield page


@pytest.fixture
def mistaken(browser: Browser) -> Iterator[Page]:
    """Yield a page whose calls may be refused, which browsers write into the console."""
    with watched(browser.new_context(), refused=True) as page:
        yield page
