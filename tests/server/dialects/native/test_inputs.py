"""Pictures are handed in, shown and let go over HTTP."""

from __future__ import annotations

import base64
import hashlib
import io

import httpx
import pytest
from PIL import Image


def file(format: str = "PNG", size: tuple[int, int] = (40, 24), mode: str = "RGB") -> bytes:
    made = io.BytesIO()
    Image.new(mode, size, "teal").save(made, format)
    return made.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_kept_as_it_came_under_its_digest(client: httpx.Client, format: str) -> None:
    data = file(format)
    answer = client.post("/inputs", content=data)
    assert answer.status_code == 201, answer.text
    kept = answer.json()
    assert kept["id"] == hashlib.sha256(data).hexdigest()
    assert (kept["width"], kept["height"], kept["frames"], kept["alpha"]) == (40, 24, 1, False)
    assert answer.headers["location"] == kept["url"]
    shown = httpx.get(kept["url"])
    assert (shown.content, shown.headers["content-type"]) == (data, f"image/{format.lower()}")
    assert client.post("/inputs", content=data).json() == kept


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_picture_may_come_as_text(client: httpx.Client, prefix: str) -> None:
    data = file(mode="RGBA")
    answer = client.post("/inputs", json={"image": prefix + base64.b64encode(data).decode()})
    assert (answer.json()["id"], answer.json()["alpha"]) == (hashlib.sha256(data).hexdigest(), True)


def test_a_picture_that_is_let_go_is_gone(client: httpx.Client) -> None:
    id = client.post("/inputs", content=file()).json()["id"]
    assert client.delete(f"/inputs/{id}").status_code == 204
    assert client.get(f"/inputs/{id}").status_code == 404
    assert client.delete(f"/inputs/{id}").status_code == 404


@pytest.mark.parametrize("id", ["x", "0" * 64, "..%2f..", "A" * 64])
def test_what_is_not_there_is_not_found(client: httpx.Client, id: str) -> None:
    for answer in (client.get(f"/inputs/{id}"), client.delete(f"/inputs/{id}")):
        assert (answer.status_code, answer.json()["kind"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("content", "kind", "field"),
    [
        (b"", "image/png", "body"),
        (b"no picture", "image/png", "body"),
        (b"{", "application/json", "body"),
        (b'{"image": 5}', "application/json", "body"),
        (b'{"picture": "x"}', "application/json", "body"),
        (b'{"image": "???"}', "application/json", "image"),
        (b'{"image": "AAAA"}', "application/json", "image"),
    ],
)
def test_what_is_no_picture_is_refused(client: httpx.Client, content: bytes, kind: str, field: str) -> None:
    answer = client.post("/inputs", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_a_picture_may_come_in_a_form(client: httpx.Client) -> None:
    data = file()
    answer = client.post("/inputs", files={"image": ("a.png", data, "image/png")})
    assert answer.status_code == 201, answer.text
    assert answer.json()["id"] == hashlib.sha256(data).hexdigest()
    text = client.post("/inputs", files={"image": (None, base64.b64encode(data).decode())})
    assert text.json() == answer.json()
    for files in ({"picture": ("a.png", data)}, {"image": ("a.png", data), "other": (None, "x")}):
        refused = client.post("/inputs", files=files)
        assert refused.status_code == 400
        assert "image" in refused.json()["detail"]
