"""Files that come in give their parameters, and are what pictures start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from engine import GenerationRequest, Hires, Lora
from engine.formats.png import encode_png, picture_metadata
from tests.server.conftest import RunningServer
from tests.server.dialects.comfyui.client import hires_graph
from tests.server.page.person import drop, opened, pictures, tiles

WORKFLOW = Path(__file__).parents[2] / "workflows" / "awpainting_ui.json"


def png(**values: Any) -> bytes:
    request = GenerationRequest(**{"prompt": "two yellow houses", "seed": 2**63 + 1, **values})
    metadata = picture_metadata(
        request, checkpoint_file="instant.safetensors", model_name="instant", model_hash=None, record={}, index=0
    )
    return encode_png(Image.new("RGB", (64, 64)), metadata)


def test_a_file_gives_its_parameters(server: RunningServer, page: Page, tmp_path: Path) -> None:
    opened(page, server)
    (tmp_path / "picture.png").write_bytes(png(steps=33, sampler="heun", cfg_scale=6.5))
    drop(page, tmp_path / "picture.png", "image/png")
    expect(page.locator("#prompt")).to_have_value("two yellow houses")
    expect(page.locator("#seed")).to_have_value(str(2**63 + 1))
    expect(page.locator("#cfg_scale")).to_have_value("6.5")
    expect(page.locator("#sampler")).to_have_value("heun")
    expect(page.locator(".notice.good")).to_contain_text("Parameters taken from picture.png")
    page.reload()
    expect(page.locator("#prompt")).to_have_value("two yellow houses")
    page.set_input_files("#file", str(WORKFLOW))
    expect(page.locator("#seed")).to_have_value("802908303372950")
    expect(page.locator(".notice.bad")).to_contain_text("AWPainting_v1.3")


def test_what_has_no_field_is_shown_kept_over_reloads_and_sent(
    server: RunningServer, page: Page, tmp_path: Path
) -> None:
    server.backend.more_files = {"loras": ("ink.safetensors",)}
    opened(page, server)
    loras = (Lora(name="ink.safetensors", strength=0.8),)
    (tmp_path / "picture.png").write_bytes(png(loras=loras, hires=Hires(scale=1.5)))
    drop(page, tmp_path / "picture.png", "image/png")
    expect(page.locator("#parts li")).to_have_count(2)
    page.reload()
    expect(page.locator("#parts li").first).to_contain_text("ink.safetensors × 0.8")
    page.click("#generate")
    expect(pictures(page)).to_have_count(1)
    assert server.backend.requests[-1].loras == loras
    for _ in range(2):
        page.locator("#parts li button").first.click()
    expect(page.locator("#parts")).to_be_hidden()
    page.click("#generate")
    expect(tiles(page)).to_have_count(2)
    assert (server.backend.requests[-1].loras, server.backend.requests[-1].hires) == ((), None)


def test_pictures_start_from_a_picture(server: RunningServer, page: Page, tmp_path: Path) -> None:
    opened(page, server)
    page.click("#generate")
    expect(tiles(page)).to_have_count(1)
    tiles(page).first.click()
    page.click("#viewer-start")
    expect(page.locator("#parts img")).to_be_visible()
    expect(page.locator("#denoise")).to_have_value("0.6")
    page.click("#generate")
    expect(tiles(page)).to_have_count(2)
    request = server.backend.requests[-1]
    assert (request.denoise, bool(request.image)) == (0.6, True)


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_a_jpeg_or_a_webp_gives_its_parameters(server: RunningServer, page: Page, tmp_path: Path, format: str) -> None:
    opened(page, server)
    page.fill("#prompt", "ärger, a boat")
    page.click("#generate")
    expect(tiles(page)).to_have_count(1)
    url = page.evaluate("document.querySelector('#cells .whole img').src").replace(".png", f".{format}")
    path = tmp_path / f"picture.{format}"
    path.write_bytes(page.request.get(url).body())
    page.fill("#prompt", "something else")
    drop(page, path, f"image/{format}")
    expect(page.locator("#prompt")).to_have_value("ärger, a boat")
    expect(page.locator("#seed")).to_have_value(str(server.backend.requests[-1].seed))


def test_a_file_that_cannot_be_taken_is_said_in_plain_words(
    server: RunningServer, mistaken: Page, tmp_path: Path
) -> None:
    page = opened(mistaken, server)
    (tmp_path / "hires.json").write_text(json.dumps(hires_graph()))
    page.set_input_files("#file", str(tmp_path / "hires.json"))
    expect(page.locator(".notice.bad")).to_contain_text("hires.json is a workflow of several samplings")
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    drop(page, tmp_path / "bad.png", "image/png")
    expect(page.locator(".notice.bad")).to_contain_text("bad.png: This file holds no picture parameters")
    (tmp_path / "plain.png").write_bytes(encode_png(Image.new("RGB", (64, 64)), {}))
    drop(page, tmp_path / "plain.png", "image/png")
    page.click(".notice >> text=Start from it")
    expect(page.locator("#parts")).to_contain_text("Starts from a picture")


def test_text_can_be_dragged_into_the_prompt(server: RunningServer, page: Page) -> None:
    opened(page, server)
    handled = page.evaluate(
        """() => {
            const transfer = new DataTransfer();
            transfer.setData("text/plain", "words");
            const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
            document.getElementById("prompt").dispatchEvent(event);
            return event.defaultPrevented;
        }"""
    )
    assert handled is False
