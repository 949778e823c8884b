"""The gallery and its viewer: small pictures, a URL for each, keys, deleting, choosing several, search and stars."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from engine.formats.png import request_from_png
from tests.server.conftest import RunningServer
from tests.server.page.person import opened, pictures, tiles


def filled(page: Page, server: RunningServer, *prompts: str, **values: Any) -> Page:
    """Open the page on a server that has made a picture of each prompt, the last one newest."""
    for seed, prompt in enumerate(prompts):
        body = {"prompt": prompt, "seed": seed, **values}
        assert httpx.post(f"{server.url}/api/v1/generate", json=body, timeout=60).status_code == 200
    return opened(page, server)


def test_tiles_are_thumbnails_and_named_apart(server: RunningServer, page: Page) -> None:
    filled(page, server, "tree", "tree", width=1024)
    expect(page.locator("#gallery img").first).to_have_js_property("naturalWidth", 384)
    names: Any = page.evaluate("[...document.querySelectorAll('#gallery img')].map((each) => each.alt)")
    assert names == ["tree, seed 1", "tree, seed 0"]


def test_an_answer_from_before_a_jobs_end_takes_no_picture_away(server: RunningServer, page: Page) -> None:
    """Answers overtake each other: one that was asked for while the job ran may be read after its end."""
    filled(page, server, "one")
    expect(tiles(page)).to_have_count(1)
    page.evaluate(
        """async () => {
            const gallery = await import(new URL("gallery.js", document.querySelector("script[type=module]").src));
            const [{ job }] = gallery.all();
            gallery.add({ ...job, state: "running", finished: null, images: [] });
        }"""
    )
    expect(tiles(page)).to_have_count(1)


def test_each_picture_has_a_url_and_keys_lead_to_its_neighbours(server: RunningServer, page: Page) -> None:
    filled(page, server, "one", "two", "three")
    viewer = page.locator("#viewer")
    tiles(page).nth(1).click()
    expect(page.locator("#viewer-facts")).to_contain_text("two")
    link = page.url
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-facts")).to_contain_text("one")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#viewer-facts")).to_contain_text("three")
    page.keyboard.press("z")
    expect(page.locator("#viewer-zoom")).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(viewer).to_be_hidden()
    assert page.url == f"{server.url}/"
    page.go_forward()
    expect(viewer).to_be_visible()
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    page.goto(link)
    expect(page.locator("#viewer-facts")).to_contain_text("two")
    page.click("#viewer-close")
    expect(viewer).to_be_hidden()
    expect(page.locator("#prompt")).to_be_visible()


@pytest.mark.parametrize("size", [(1280, 720), (390, 844)])
def test_what_to_do_with_a_picture_is_in_sight_however_long_its_prompt(
    server: RunningServer, page: Page, size: tuple[int, int]
) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    filled(page, server, "long " * 3000, width=512, height=1024)
    tiles(page).first.click()
    for name in ("#viewer-use", "#viewer-close", "#viewer-delete"):
        expect(page.locator(name)).to_be_in_viewport(ratio=1)
    expect(page.locator("#viewer-picture")).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.getElementById('viewer-save').offsetWidth") < 200


def test_a_picture_is_used_again_whole_or_in_parts(server: RunningServer, page: Page) -> None:
    filled(page, server, "desert", count=3, steps=33, loras=[])
    page.fill("#prompt", "something else")
    tiles(page).nth(2).click()
    page.click("#viewer-seed")
    expect(page.locator("#seed")).to_have_value("2")
    expect(page.locator("#prompt")).to_have_value("something else")
    tiles(page).nth(1).click()
    page.click("#viewer-prompt")
    expect(page.locator("#prompt")).to_have_value("desert")
    expect(page.locator("#steps")).to_have_value("20")
    tiles(page).nth(1).click()
    page.click("#viewer-use")
    expect(page.locator("#steps")).to_have_value("33")
    expect(page.locator("#seed")).to_have_value("1")
    page.reload()
    expect(page.locator("#steps")).to_have_value("33")


def test_a_picture_is_saved_under_a_name_that_says_something(server: RunningServer, page: Page) -> None:
    filled(page, server, "A red boat, (mountains:1.2)")
    tiles(page).first.click()
    with page.expect_download() as download:
        page.click("#viewer-save")
    assert download.value.suggested_filename.endswith("_a-red-boat-mountains-1-2_0.png")
    assert request_from_png(Path(download.value.path()).read_bytes()).prompt == "A red boat, (mountains:1.2)"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#viewer-copy")
    expect(page.locator(".notice")).to_contain_text("copied")
    copied: Any = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("A red boat, (mountains:1.2)\nNegative prompt:")


def test_one_picture_of_a_job_is_deleted(server: RunningServer, page: Page) -> None:
    filled(page, server, "two of us", count=2)
    tiles(page).nth(0).click()
    page.click("#viewer-delete")
    page.click("#sure button[value='']")
    expect(tiles(page)).to_have_count(2)
    page.keyboard.press("Delete")
    page.click("#sure button[value=yes]")
    expect(tiles(page)).to_have_count(1)
    expect(pictures(page)).to_have_count(1)
    (job,) = httpx.get(f"{server.url}/api/v1/jobs").json()["jobs"]
    assert [image["seed"] for image in job["images"]] == [1]
    page.keyboard.press("Delete")
    page.click("#sure button[value=yes]")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(tiles(page)).to_have_count(0)
    assert httpx.get(f"{server.url}/api/v1/jobs").json()["total"] == 0


def test_several_are_chosen_compared_saved_and_deleted(server: RunningServer, page: Page) -> None:
    filled(page, server, "same", "same", "same", "other")
    page.click("#select")
    tiles(page).nth(1).click()
    tiles(page).nth(2).click()
    page.click("#compare")
    expect(page.locator("#compared img")).to_have_count(2)
    page.keyboard.press("Escape")
    tiles(page).nth(3).click(modifiers=["Shift"])
    expect(page.locator("#selected")).to_have_text("3 selected")
    with page.expect_download() as download:
        page.click("#zip")
    archive = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
    assert archive.testzip() is None
    seeds = [request_from_png(archive.read(name)).seed for name in archive.namelist()]
    assert sorted(filter(None, map(str, seeds))) == ["0", "1", "2"]
    page.click("#delete")
    page.click("#sure button[value=yes]")
    expect(tiles(page)).to_have_count(1)
    page.click("#select")
    expect(page.locator("#selection")).to_be_hidden()


def test_search_and_stars(server: RunningServer, page: Page) -> None:
    filled(page, server, "a red boat", "a red tree", "the sea")
    page.fill("#search", "red")
    expect(tiles(page)).to_have_count(2)
    page.fill("#search", "red tree")
    expect(tiles(page)).to_have_count(1)
    page.fill("#search", "castle")
    expect(page.locator("#gallery-empty")).to_have_text("No picture fits.")
    page.fill("#search", "")
    expect(tiles(page)).to_have_count(3)
    tiles(page).nth(1).click()
    page.keyboard.press("s")
    page.keyboard.press("Escape")
    page.reload()
    expect(tiles(page)).to_have_count(3)
    page.click("#starred")
    expect(page.locator("#gallery li:visible")).to_have_count(1)
    expect(page.locator("#gallery li:visible img")).to_have_attribute("alt", "a red tree, seed 1")


def test_more_is_read_page_by_page_and_the_focus_goes_on(server: RunningServer, page: Page) -> None:
    filled(page, server, *[f"number {number}" for number in range(30)], width=64, height=64)
    expect(tiles(page)).to_have_count(24)
    page.click("#more")
    expect(tiles(page)).to_have_count(30)
    expect(tiles(page).nth(24)).to_be_focused()
    tiles(page).nth(29).click()
    expect(page.locator("#viewer-facts")).to_contain_text("number 0")
    expect(page.locator("#viewer-after")).to_be_disabled()


def test_a_swipe_leads_to_the_next_picture_on_a_phone(server: RunningServer, phone: Page) -> None:
    filled(phone, server, "one", "two")
    tiles(phone).first.click()
    expect(phone.locator("#viewer-facts")).to_contain_text("two")
    swipe = """(canvas) => {
        const at = (x) => new Touch({ identifier: 1, target: canvas, clientX: x, clientY: 200 });
        canvas.dispatchEvent(new TouchEvent("touchstart", { touches: [at(300)], changedTouches: [at(300)] }));
        canvas.dispatchEvent(new TouchEvent("touchend", { touches: [], changedTouches: [at(80)] }));
    }"""
    phone.locator("#viewer-canvas").evaluate(swipe)
    expect(phone.locator("#viewer-facts")).to_contain_text("one")
