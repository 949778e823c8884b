"""The stage shows each picture of a job in a cell of its own, what runs, how long it takes, and the last picture."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.server.conftest import RunningServer
from tests.server.page.person import opened, pictures, tiles


def test_pictures_come_one_by_one_and_stay_after_cancel(server: RunningServer, page: Page) -> None:
    server.backend.step_seconds, server.backend.capacity = 0.02, 1
    opened(page, server)
    page.fill("#count", "6")
    page.click("#generate")
    expect(page.locator("#cells .cell")).to_have_count(6)
    expect(pictures(page)).not_to_have_count(0)
    expect(page.locator("#status")).to_contain_text("of 6 done")
    server.backend.step_seconds = 1.0
    expect(tiles(page)).not_to_have_count(0)
    page.click("#cancel")
    expect(page.locator("#status")).to_contain_text("kept")
    kept = pictures(page).count()
    assert 0 < kept < 6
    expect(tiles(page)).to_have_count(kept)
    page.reload()
    expect(pictures(page)).to_have_count(kept)


def test_shows_progress_preview_and_the_time_that_is_left(server: RunningServer, page: Page) -> None:
    server.backend.step_seconds = 0.1
    opened(page, server)
    height: Any = page.evaluate("document.getElementById('stage').offsetHeight")
    page.fill("#steps", "200")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#status")).to_contain_text("of 200")
    expect(page.locator("#status")).to_contain_text("s left")
    expect(page.locator("#status")).to_contain_text("steps/s")
    expect(page.locator("#cells .preview")).to_be_visible()
    page.wait_for_function("/^[1-9]\\d? % · /.test(document.title)")
    assert page.evaluate("document.getElementById('stage').offsetHeight") == height
    page.click("#cancel")
    expect(page.locator("#status")).to_have_text("Cancelled")
    expect(tiles(page)).to_have_count(0)
    expect(page).to_have_title("Stable Diffusion engine")


def test_a_reload_follows_the_running_job_and_shows_the_last_picture(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.click("#generate")
    expect(tiles(page)).to_have_count(1)
    page.reload()
    expect(pictures(page)).to_have_count(1)
    server.backend.step_seconds = 0.1
    page.fill("#steps", "60")
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text("of 60")
    page.reload()
    expect(page.locator("#status")).to_contain_text("of 60")
    server.backend.step_seconds = 0.0
    expect(page.locator("#status")).to_contain_text("Done")
    expect(tiles(page)).to_have_count(2)


def test_the_stage_stays_with_what_runs_and_goes_on_to_the_next(server: RunningServer, page: Page) -> None:
    server.backend.step_seconds, server.backend.capacity = 0.15, 1
    opened(page, server)
    for steps in ("31", "32", "33"):
        page.fill("#steps", steps)
        page.click("#generate")
        expect(page.locator("#generate")).to_be_enabled()
    expect(page.locator("#queue li")).to_have_count(3)
    expect(page.locator("#status")).to_contain_text("of 31")
    page.locator("#queue li .words").nth(2).click()
    expect(page.locator("#status")).to_contain_text("Queued")
    expect(page.locator("#pin")).to_have_attribute("aria-pressed", "true")
    page.click("#pin")
    expect(page.locator("#pin")).to_have_attribute("aria-pressed", "false")
    server.backend.step_seconds = 0.02
    expect(tiles(page)).to_have_count(3)
    expect(page.locator("#status")).to_contain_text("Done")


def test_queue_rows_are_updated_in_place(server: RunningServer, page: Page) -> None:
    server.backend.step_seconds, server.backend.capacity = 0.2, 1
    opened(page, server)
    for _ in range(2):
        page.click("#generate")
        expect(page.locator("#generate")).to_be_enabled()
    row = page.locator("#queue li").first
    row.evaluate("row => { row.marked = true; }")
    before = row.locator(".state").text_content()
    expect(row.locator(".state")).not_to_have_text(before or "")
    assert row.evaluate("row => row.marked")
    page.click("#cancel-all")
    expect(page.locator("#queue-section")).to_be_hidden()


def test_jobs_of_others_are_followed_and_come_into_the_gallery(server: RunningServer, page: Page) -> None:
    server.backend.step_seconds = 0.2
    opened(page, server)
    accepted: Any = page.evaluate(
        """() => fetch("/api/v1/generate", {method: "POST", headers: {"Content-Type": "application/json"},
            body: JSON.stringify({prompt: "another caller's", async: true})}).then((answer) => answer.status)"""
    )
    assert accepted == 202
    expect(page.locator("#status")).to_contain_text("of 20")
    server.backend.step_seconds = 0.0
    expect(tiles(page)).to_have_count(1)


def test_a_batch_has_a_cell_for_each_picture(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.click("#further summary")
    page.fill("#batch_size", "3")
    page.fill("#count", "2")
    page.click("#generate")
    expect(pictures(page)).to_have_count(6)
    shown: Any = page.evaluate("[...document.querySelectorAll('#cells .whole img')].map((each) => each.src)")
    assert len(set(shown)) == 6


def test_the_pictures_before_come_back_after_a_cancelled_job(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.fill("#count", "2")
    page.click("#generate")
    expect(pictures(page)).to_have_count(2)
    server.backend.step_seconds = 0.5
    page.click("#generate")
    expect(page.locator("#cells .preview")).not_to_have_count(0)
    page.click("#cancel")
    expect(page.locator("#status")).to_have_text("Cancelled")
    expect(pictures(page)).to_have_count(2)
    pictures(page).first.click()
    expect(page.locator("#viewer")).to_be_visible()
