"""Tests the page and the API's reference in a real browser: what a person does with them, and what a reload keeps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from engine import GenerationRequest
from engine.formats.png import encode_png, picture_metadata
from server.backends.instant import InstantBackend
from server.web.access import new_key
from tests.server.conftest import RunningServer
from tests.server.dialects.comfyui.client import hires_graph

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 20_000  # milliseconds, for a busy machine


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "Debian's chromium is needed: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Yield a page that fails its test for any error in the console or any call to another server."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    expect.set_options(timeout=SECONDS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.extend([request.url] if "127.0.0.1" not in request.url else []))
    yield page
    context.close()
    assert not [what for what in wrong if not what.startswith(("data:", "blob:"))]


def opened(page: Page, server: RunningServer) -> Page:
    page.goto(server.url)
    expect(page.locator("#sampler option")).not_to_have_count(0)
    expect(page.locator("#health")).to_have_text("Ready")
    return page


def test_generates_a_picture_and_puts_it_into_the_gallery(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.fill("#prompt", "a red boat")
    page.fill("#seed", "18446744073709551615")
    page.click("#generate")
    expect(page.locator("#picture.whole")).to_be_visible()
    expect(page.locator("#picture")).to_have_js_property("naturalWidth", 512)
    expect(page.locator("#status")).to_contain_text("Done")
    expect(page.locator("#gallery img")).to_have_count(1)
    request = server.backend.requests[-1]
    assert (request.prompt, request.seed, request.steps) == ("a red boat", 2**64 - 1, 20)


def test_shows_progress_and_preview_and_cancels(server: RunningServer, page: Page) -> None:
    server.backend.step_seconds = 0.2
    opened(page, server)
    page.fill("#steps", "200")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#status")).to_contain_text("of 200")
    expect(page.locator("#picture.preview")).to_be_visible()
    expect(page.locator("#queue li")).to_have_count(1)
    page.click("#cancel")
    expect(page.locator("#status")).to_have_text("Cancelled")
    expect(page.locator("#queue-section")).to_be_hidden()
    expect(page.locator("#gallery img")).to_have_count(0)


def test_pictures_are_in_the_gallery_while_others_are_made(server: RunningServer, page: Page) -> None:
    server.backend.step_seconds, server.backend.capacity = 0.05, 1
    opened(page, server)
    page.click("summary:has-text('More')")
    page.fill("#count", "3")
    page.click("#generate")
    expect(page.locator("#gallery img")).to_have_count(1)
    server.backend.step_seconds = 1
    expect(page.locator("#queue li")).to_have_count(1)
    page.click("#cancel")
    expect(page.locator("#status")).to_have_text("Cancelled")
    expect(page.locator("#gallery img")).to_have_count(0)
    server.backend.step_seconds = 0
    page.click("#generate")
    expect(page.locator("#gallery img")).to_have_count(3)


def test_reload_keeps_the_form_the_running_job_and_the_gallery(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.click("#generate")
    expect(page.locator("#gallery img")).to_have_count(1)
    server.backend.step_seconds = 0.1
    page.fill("#prompt", "three pink trees")
    page.fill("#steps", "60")
    page.select_option("#sampler", "dpmpp_2m")
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text("of 60")
    page.reload()
    expect(page.locator("#prompt")).to_have_value("three pink trees")
    expect(page.locator("#sampler")).to_have_value("dpmpp_2m")
    expect(page.locator("#status")).to_contain_text("of 60")
    server.backend.step_seconds = 0.0
    expect(page.locator("#picture.whole")).to_be_visible()
    expect(page.locator("#gallery img")).to_have_count(2)


def test_an_error_is_shown_at_its_field(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.fill("#width", "500")
    page.click("#generate")
    expect(page.locator("#width")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#fault-width")).to_contain_text("multiple of 8")
    page.fill("#width", "512")
    page.fill("#prompt", "fail")
    page.click("#generate")
    expect(page.locator("#fault-width")).to_have_count(0)
    expect(page.locator("#notice")).to_contain_text("asked for a failure")


def test_a_file_gives_its_parameters(server: RunningServer, page: Page, tmp_path: Path) -> None:
    opened(page, server)
    request = GenerationRequest(prompt="two yellow houses", seed=2**63 + 1, steps=33, sampler="heun", cfg_scale=6.5)
    metadata = picture_metadata(
        request, checkpoint_file="instant.safetensors", model_name="instant", model_hash=None, record={}, index=0
    )
    from PIL import Image

    png = encode_png(Image.new("RGB", (64, 64)), metadata)
    workflow = json.loads((Path(__file__).parent.parent / "workflows" / "awpainting_ui.json").read_text())
    for name, data in (("picture.png", png), ("workflow.json", json.dumps(workflow).encode())):
        path = tmp_path / name
        path.write_bytes(data)
    drop(page, tmp_path / "picture.png", "image/png")
    expect(page.locator("#prompt")).to_have_value("two yellow houses")
    expect(page.locator("#seed")).to_have_value(str(2**63 + 1))
    expect(page.locator("#cfg_scale")).to_have_value("6.5")
    expect(page.locator("#sampler")).to_have_value("heun")
    page.set_input_files("#file", str(tmp_path / "workflow.json"))
    expect(page.locator("#seed")).to_have_value("802908303372950")
    expect(page.locator("#notice")).to_contain_text("AWPainting_v1.3")
    (tmp_path / "hires.json").write_text(json.dumps(hires_graph()))
    page.set_input_files("#file", str(tmp_path / "hires.json"))
    expect(page.locator("#notice")).to_contain_text("hires.json is a workflow of several samplings")
    expect(page.locator("#seed")).to_have_value("802908303372950")
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    drop(page, tmp_path / "bad.png", "image/png")
    expect(page.locator("#notice")).to_contain_text("PNG")


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


def test_a_gallery_picture_is_used_again(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.fill("#prompt", "desert")
    page.fill("#seed", "7")
    page.click("details summary")
    page.fill("#count", "3")
    page.click("#generate")
    expect(page.locator("#gallery img")).to_have_count(3)
    page.fill("#prompt", "something else")
    page.locator("#gallery button").nth(2).click()
    expect(page.locator("#viewer")).to_be_visible()
    expect(page.locator("#viewer-facts")).to_contain_text("9")
    page.click("#viewer-use")
    expect(page.locator("#prompt")).to_have_value("desert")
    expect(page.locator("#seed")).to_have_value("9")


def test_the_model_is_switched_and_loaded(server: RunningServer, page: Page) -> None:
    opened(page, server)
    page.select_option("#model", "other")
    page.click("#load-model")
    expect(page.locator("#load-model")).to_be_hidden()
    page.click("#generate")
    expect(page.locator("#picture.whole")).to_be_visible()
    assert server.backend.requests[-1].model == "other"


def test_asks_for_the_key(open_server: Callable[..., RunningServer], page: Page) -> None:
    key, digest = new_key()
    server = open_server(InstantBackend(), api_keys={"page": digest})
    page.goto(server.url)
    page.fill("#key", key)
    page.keyboard.press("Enter")
    expect(page.locator("#sampler option")).not_to_have_count(0)
    page.click("#generate")
    expect(page.locator("#picture.whole")).to_be_visible()


def test_theme_and_keyboard(server: RunningServer, page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    opened(page, server)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click("#theme")
    page.reload()
    expect(page.locator("#health")).to_have_text("Ready")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    nameless: Any = page.evaluate(
        """[...document.querySelectorAll("button, input:not([hidden]), select, textarea")]
            .filter((e) => !e.labels?.length && !e.textContent.trim() && !e.getAttribute("aria-label"))
            .map((e) => e.id)"""
    )
    assert nameless == []
    before = page.locator("#seed").input_value()
    page.focus("#dice")
    page.keyboard.press("Space")
    assert page.locator("#seed").input_value() != before


def test_fits_a_phone(server: RunningServer, page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    opened(page, server)
    page.click("#generate")
    expect(page.locator("#picture.whole")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_jobs_of_others_come_into_the_gallery(server: RunningServer, page: Page) -> None:
    server.backend.step_seconds = 0.2
    opened(page, server)
    accepted: Any = page.evaluate(
        """() => fetch("/api/v1/generate", {method: "POST", headers: {"Content-Type": "application/json"},
            body: JSON.stringify({prompt: "another caller's", async: true})}).then((answer) => answer.status)"""
    )
    assert accepted == 202
    expect(page.locator("#queue li")).to_have_count(1)
    server.backend.step_seconds = 0.0
    expect(page.locator("#gallery img")).to_have_count(1)


def reference(page: Page) -> list[str]:
    """Yield the list of the console's errors from now on; a violation of the Content-Security-Policy is one."""
    errors: list[str] = []
    page.on("console", lambda message: errors.extend([message.text] if message.type == "error" else []))
    return errors


def test_the_api_reference_is_shown_and_tries_a_call(server: RunningServer, page: Page) -> None:
    opened(page, server)
    errors = reference(page)
    page.click("text=API reference")
    expect(page.locator(".swagger-ui .info .title")).to_contain_text("Stable Diffusion engine")
    tags = {path["tags"][0] for each in document(server)["paths"].values() for path in each.values()}
    expect(page.locator(".opblock-tag")).to_have_count(len(tags))
    operation = page.locator("#operations-Operation-healthz_healthz_get")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    assert errors == []


def test_the_api_reference_asks_for_the_key_and_calls_with_it(
    open_server: Callable[..., RunningServer], page: Page
) -> None:
    key, digest = new_key()
    server = open_server(InstantBackend(), api_keys={"page": digest})
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
