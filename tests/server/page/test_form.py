"""The form sends what a person wrote, draws seeds, keeps drafts, says errors at their fields and helps with prompts."""

from __future__ import annotations

import json

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.server.conftest import RunningServer
from tests.server.page.person import opened, pictures, settings, tiles, watched


def test_every_press_gives_another_picture_until_the_seed_is_locked(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.fill("#prompt", "a red boat")
    for made in (1, 2):
        page.click("#generate")
        expect(tiles(page)).to_have_count(made)
    first, second = (request.seed for request in server.backend.requests)
    assert first != second
    page.click("#lock")
    expect(page.locator("#seed")).to_have_value(str(second))
    page.click("#generate")
    expect(tiles(page)).to_have_count(3)
    page.fill("#seed", str(2**64 - 1))
    page.click("#generate")
    expect(tiles(page)).to_have_count(4)
    assert [request.seed for request in server.backend.requests[2:]] == [second, 2**64 - 1]
    page.click("#dice")
    expect(page.locator("#seed")).to_have_value("")
    request = server.backend.requests[-1]
    assert (request.prompt, request.steps, request.sampler) == ("a red boat", 20, "euler")


@pytest.mark.parametrize("size", [(1440, 900), (1280, 720), (390, 844), (320, 640)])
def test_generate_count_and_cancel_are_always_in_sight_and_cover_nothing(
    server: RunningServer, browser: Browser, size: tuple[int, int]
) -> None:
    width, height = size
    with watched(browser.new_context(viewport={"width": width, "height": height})) as page:
        opened(page, server)
        if width < 820:
            page.click("#settings > summary")
        settings(page)
        for name in ("#generate", "#count", "#cancel"):
            expect(page.locator(name)).to_be_in_viewport(ratio=1)
        for name in ("prompt", "width", "sampler", "scheduler", "seed", "clip_skip", "prompt_syntax"):
            page.focus(f"#{name}")
            covered = f"""(() => {{
                const box = document.getElementById("{name}").getBoundingClientRect();
                const top = document.elementFromPoint(box.x + box.width / 2, box.bottom - 4);
                return top?.id !== "{name}" && !top?.closest("#{name}");
            }})()"""
            assert not page.evaluate(covered), name
        page.fill("#count", "3")
        page.click("#generate")
        expect(tiles(page)).to_have_count(3)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_reload_keeps_the_draft(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.fill("#prompt", "three pink trees")
    page.select_option("#sampler", label="DPM++ 2M")
    page.select_option("#model", "other")
    page.click("#aspects >> text=3:2")
    page.reload()
    expect(page.locator("#prompt")).to_have_value("three pink trees")
    expect(page.locator("#sampler")).to_have_value("dpmpp_2m")
    expect(page.locator("#model")).to_have_value("other")
    expect(page.locator("#width")).to_have_value("768")
    expect(page.locator("#model")).to_have_value("other")
    page.click("#reset")
    expect(page.locator("#model")).to_have_value("instant")
    expect(page.locator("#width")).to_have_value("512")


def test_what_is_typed_on_a_slow_network_stays(server: RunningServer, page: Page) -> None:
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    limits = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
    client.send("Network.emulateNetworkConditions", limits)
    page.goto(server.url, wait_until="commit")
    page.fill("#prompt", "typed early")
    expect(page.locator("#sampler option")).not_to_have_count(0)
    expect(page.locator("#health")).to_have_text("Ready")
    expect(page.locator("#prompt")).to_have_value("typed early")


def test_the_page_describes_its_form_itself_and_briefly(server: RunningServer) -> None:
    answer = httpx.get(server.url)
    text = answer.text.split('id="description">')[1].split("</script>")[0]
    fields = json.loads(text)["fields"]
    assert fields["sampler"]["choices"]["dpmpp_2m_sde"] == "DPM++ 2M SDE"
    assert (fields["steps"]["default"], fields["count"]["maximum"]) == (20, 64)
    assert len(text) < 12_000
    assert httpx.get(server.url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_an_error_is_said_at_its_field_until_the_value_changes(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.fill("#width", "500")
    page.click("#generate")
    expect(page.locator("#width")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#width")).to_be_focused()
    expect(page.locator("#fault-width")).to_contain_text("multiple of 8")
    page.fill("#width", "512")
    expect(page.locator("#fault-width")).to_have_count(0)
    page.click("#further summary")
    page.fill("#prompt", "fail")
    page.click("#generate")
    expect(page.locator(".notice.bad")).to_contain_text("asked for a failure")
    expect(page.locator("#generate")).to_be_in_viewport(ratio=1)
    page.locator(".notice.bad button").click()
    expect(page.locator(".notice")).to_have_count(0)


def test_weights_tokens_history_and_styles(server: RunningServer, page: Page) -> None:
    opened(page, server)
    prompt = page.locator("#prompt")
    prompt.fill("a red boat")
    expect(page.locator("#tokens")).to_have_text("3 / 75")
    page.evaluate("document.getElementById('prompt').setSelectionRange(3, 3)")
    for _ in range(2):
        page.keyboard.press("Control+ArrowUp")
    expect(prompt).to_have_value("a (red:1.1) boat")
    expect(page.locator("#tokens")).to_have_text("3 / 75")
    page.keyboard.press("Control+z")
    expect(prompt).to_have_value("a (red:1.05) boat")
    page.keyboard.press("Control+ArrowDown")
    expect(prompt).to_have_value("a red boat")
    page.click("#generate")
    expect(pictures(page)).to_have_count(1)
    prompt.fill("oil painting of {prompt}, thick strokes")
    page.click("text=Styles")
    page.fill("#menu-body input", "Oil")
    page.keyboard.press("Enter")
    expect(page.locator(".choice")).to_contain_text("Oil")
    page.keyboard.press("Escape")
    page.click("text=History")
    page.click(".choice >> text=a red boat")
    expect(prompt).to_have_value("a red boat")
    page.reload()
    page.click("text=Styles")
    page.click(".choice >> text=Oil")
    expect(prompt).to_have_value("oil painting of a red boat, thick strokes")


def test_the_model_is_switched_and_loaded(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.select_option("#model", "other")
    page.click("#load-model")
    expect(page.locator("#load-model")).to_be_hidden()
    page.click("#generate")
    expect(pictures(page)).to_have_count(1)
    assert server.backend.requests[-1].model == "other"


def test_a_lora_is_chosen_with_its_strength(server: RunningServer, page: Page) -> None:
    server.backend.more_files = {"loras": ("ink.safetensors", "oil.safetensors")}
    opened(page, server)
    page.click("#add-lora")
    page.click(".choice >> text=oil")
    page.fill("#menu-body input", "0.35")
    page.keyboard.press("Enter")
    expect(page.locator("#parts")).to_contain_text("oil × 0.35")
    page.click("#add-lora")
    page.click(".choice >> text=oil")
    page.click(".choice >> text=0.6")
    expect(page.locator("#parts li")).to_have_count(1)
    page.click("#generate")
    expect(pictures(page)).to_have_count(1)
    assert [(lora.name, lora.strength) for lora in server.backend.requests[-1].loras] == [("oil", 0.6)]
