"""Takes pictures of the page's states, at a desk and on a phone, in both themes, into a folder to look through.

python -m tests.server.page.screenshots FOLDER
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from server.backends.instant import InstantBackend
from tests.server.conftest import RunningServer, running
from tests.server.page.conftest import CHROMIUM
from tests.server.page.person import opened, pictures, tiles
from tests.server.queues import settings_in

SCREENS = {"desk": (1440, 900, "light"), "laptop": (1280, 720, "dark"), "phone": (390, 844, "light")}


class Camera:
    """Takes pictures of a page, numbered in the order in which they are taken."""

    def __init__(self, page: Page, folder: Path, prefix: str) -> None:
        self._page, self._folder, self._prefix = page, folder, prefix
        self._number = 0

    def shot(self, name: str) -> None:
        """Take a picture of what is to be seen now."""
        self._number += 1
        self._page.wait_for_timeout(500)  # for animations
        self._page.screenshot(path=self._folder / f"{self._prefix}_{self._number:02}_{name}.png")


def take(page: Page, server: RunningServer, folder: Path, prefix: str) -> None:
    """Go through the states, with a picture of each."""
    camera = Camera(page, folder, prefix)
    server.backend.step_seconds = 0
    opened(page, server)
    _form(page, camera)
    _queue(page, camera, server)
    _gallery(page, camera)
    page.context.set_offline(True)
    expect(page.locator("#banner")).to_be_visible()
    camera.shot("offline")
    page.context.set_offline(False)


def _form(page: Page, camera: Camera) -> None:
    page.evaluate("document.getElementById('settings').open = true")
    camera.shot("start")
    page.click("#help")
    camera.shot("shortcuts")
    page.keyboard.press("Escape")
    page.fill("#prompt", "a red boat on a calm lake, (mountains:1.2) behind it, morning mist")
    page.fill("#width", "500")
    page.click("#generate")
    camera.shot("mistake")
    page.fill("#width", "512")
    page.fill("#count", "4")
    page.click("#generate")
    expect(pictures(page)).to_have_count(4)
    camera.shot("four_pictures")
    for button, name in (("#add-lora", "loras"), ("text=History", "history")):
        page.click(button)
        camera.shot(name)
        page.keyboard.press("Escape")
    page.fill("#height", "768")
    page.fill("#count", "1")
    page.click("#generate")
    expect(pictures(page)).to_have_count(1)
    camera.shot("portrait")


def _queue(page: Page, camera: Camera, server: RunningServer) -> None:
    server.backend.step_seconds = 0.4
    for words in ("three pink trees in a desert", "a lighthouse at dawn"):
        page.fill("#prompt", words)
        page.click("#generate")
        expect(page.locator("#generate")).to_be_enabled()
    expect(page.locator("#queue li")).to_have_count(2)
    page.wait_for_timeout(2000)
    camera.shot("running")
    page.locator("#queue").scroll_into_view_if_needed()
    camera.shot("queue")
    server.backend.step_seconds = 0
    page.click("#cancel-all")
    expect(page.locator("#queue-section")).to_be_hidden()


def _gallery(page: Page, camera: Camera) -> None:
    page.click("#select")
    for chosen in (1, 2):
        tiles(page).nth(chosen).click()
    camera.shot("selection")
    for button, name in (("#compare", "compared"), ("#delete", "sure")):
        page.click(button)
        camera.shot(name)
        page.keyboard.press("Escape")
    page.click("#select")
    tiles(page).nth(1).click()
    camera.shot("viewer")
    page.keyboard.press("z")
    camera.shot("zoomed")
    page.keyboard.press("Escape")


def main(folder: Path) -> None:
    """Take all of them into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=30_000)
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, (width, height, scheme) in SCREENS.items():
            backend = InstantBackend(more_files={"loras": ("starter-ink.safetensors",)})
            with running(settings_in(Path(data) / name), backend) as server:
                size = {"width": width, "height": height}
                context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
                take(context.new_page(), server, folder, name)
                context.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
