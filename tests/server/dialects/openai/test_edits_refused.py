"""OpenAI's edits refuse what they cannot do by name, in OpenAI's words, and keep no picture of a refused call."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from PIL import Image

from tests.server.conftest import RunningServer
from tests.server.dialects.openai.client import client_of
from tests.server.following import all_jobs, png_of, post

RED = png_of(Image.new("RGB", (96, 64), "red"))
HOLED = png_of(Image.new("RGBA", (96, 64)))

REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "several pictures": ("image", {"image": [RED, HOLED]}),
    "a mask of another size": ("mask", {"mask": png_of(Image.new("RGBA", (64, 64)))}),
    "a mask that is opaque": ("mask", {"mask": RED}),
    "no picture": ("image", {"image": b"no picture"}),
    "a mask that is none": ("mask", {"mask": b"\x89PNG\r\n\x1a\n"}),
    "strength": ("strength", {"extra_body": {"strength": 0}}),
    "fidelity beside strength": ("input_fidelity", {"input_fidelity": "high", "extra_body": {"strength": 0.5}}),
    "background": ("background", {"background": "transparent"}),
    "svg": ("output_format", {"output_format": "svg"}),
    "markup": ("markup", {"markup": HOLED}),
    "complexity": ("complexity", {"complexity": "low"}),
    "size": ("size", {"size": "500x512"}),
    "a part of a LoRA": ("loras[0].strength", {"extra_body": {"loras": [{"name": "a", "strength": "much"}]}}),
    "a LoRA without its name": ("loras[0].name", {"extra_body": {"loras": [{"strength": 1}]}}),
    "a control's picture": ("controls[0].image", {"extra_body": {"controls": [{"model": "a", "image": "AAAA"}]}}),
    "too large": ("image", {"image": b"\x89PNG" + bytes(2**20)}),
}


@pytest.mark.parametrize(("field", "given"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_allowed_is_refused_by_name(
    open_server: Callable[..., RunningServer], field: str, given: dict[str, Any], tmp_path: Path
) -> None:
    server = open_server(max_input_bytes=2**20)
    with client_of(server) as client, pytest.raises(openai.BadRequestError) as caught:
        client.images.edit(**{"image": RED, "prompt": "a", **given})
    assert (caught.value.param, caught.value.type) == (field, "invalid_request_error")
    assert field in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert all_jobs(server) == []
    tidied = asyncio.run_coroutine_threadsafe(server.services.inputs.tidy(), server.loop)
    tidied.result(60)
    assert not list(Path(server.services.settings.inputs).glob("*"))


def test_all_that_is_missing_is_named_at_once(server: RunningServer) -> None:
    def message(path: str, body: dict[str, Any]) -> str:
        answer = post(f"{server.url}/v1/images/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")
        return str(answer.json()["error"]["message"])

    both = r"image: None .* a picture; it is required; and prompt: None .* text; it is required"
    assert re.search(both, message("edits", {}))
    assert "expected a picture; it is required" in message("variations", {})
    assert "expected text; it is required" in message("edits", {"image": "AAAA"})


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("images", {"images": ["AAAA"], "image": "AAAA"}),
        ("image", {"images": []}),
        ("images[0]", {"images": [{"url": "https://example.org/a.png"}]}),
        ("images[0]", {"images": [{"image_url": "AAAA", "file_id": "a"}]}),
        ("images[0].image_url", {"images": [{"image_url": "https://example.org/a.png"}]}),
        ("images[0].file_id", {"images": [{"file_id": "file-abc"}]}),
        ("image", {"image": 5}),
        ("mask.image_url", {"image": "AAAA", "mask": {"image_url": {"url": 5}}}),
    ],
)
def test_json_is_refused_by_name(server: RunningServer, field: str, body: dict[str, Any]) -> None:
    if "image" in body and "mask" in body:
        body["image"] = f"data:,{''.join(f'%{byte:02x}' for byte in RED)}"
    answer = post(f"{server.url}/v1/images/edits", content=json.dumps({"prompt": "a", **body}))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


def test_an_animated_picture_is_refused(client: OpenAI, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(openai.BadRequestError, match="2 frames") as caught:
        client.images.edit(image=tmp_path / "a.gif", prompt="a")
    assert caught.value.param == "image"


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\nx\r\n--b--'),
    ],
)
def test_forms_that_cannot_be_read(server: RunningServer, kind: str, content: bytes) -> None:
    answer = httpx.post(f"{server.url}/v1/images/edits", content=content, headers={"content-type": kind}, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
