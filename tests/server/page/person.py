"""What a person does with the page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.server.conftest import RunningServer

SECONDS = 20_000  # milliseconds, for a busy machine


@contextlib.contextmanager
def watched(context: BrowserContext, *, down: bool = False, refused: bool = False) -> Iterator[Page]:
    """Yield a page. Errors in the console, and calls to other servers, fail the test when it ends.

    ``down``: whether the server may be down for a while, ``refused``: whether calls may be, which browsers write there.
    """
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.extend([message.text] if message.type == "error" else []))
    page.on("request", lambda request: wrong.extend([request.url] if "127.0.0.1" not in request.url else []))
    yield page
    context.close()
    network, status = (
        "Failed to load resource: net::ERR_",
        "Failed to load resource: the server responded with a status",
    )
    expected = ("data:", "blob:", *((network,) if down else ()), *((status,) if refused else ()))
    assert [what for what in wrong if not what.startswith(expected)] == []


def opened(page: Page, server: RunningServer) -> Page:
    page.goto(server.url)
    expect(page.locator("#health")).to_have_text("Ready")
    expect(page.locator("#model")).not_to_have_value("")
    return page


def pictures(page: Page) -> Locator:
    """The finished pictures on the stage."""
    return page.locator("#cells .whole")


def tiles(page: Page) -> Locator:
    return page.locator("#gallery button")


def settings(page: Page) -> None:
    """Unfold what is folded in the form."""
    page.click("#further summary")


def drop(page: Page, path: Path, kind: str) -> None:
    """Drop a file on the page, as a person does."""
    transfer = page.evaluate_handle(
        """([bytes, name, type]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
            return transfer;
        }""",
        [list(path.read_bytes()), path.name, kind],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
