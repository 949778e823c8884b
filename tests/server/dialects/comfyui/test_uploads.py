"""Pictures and masks that ComfyUI's clients hand in, and the graphs that load them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from server.backends.instant import InstantBackend
from server.web.access import new_key
from tests.server.conftest import RunningServer
from tests.server.dialects.comfyui.client import Comfy, graph_of, opened, painted_over, wait_until_done


def png(color: str = "teal", size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, "PNG")
    return file.getvalue()


def upload(comfy: Comfy, name: str, data: bytes, kind: str = "image", **fields: str) -> httpx.Response:
    return httpx.post(f"{comfy.url}/upload/{kind}", files={"image": (name, data)}, data=fields)


def view(comfy: Comfy, **query: str) -> httpx.Response:
    return httpx.get(f"{comfy.url}/view", params=query)


def test_a_name_that_another_picture_has_gets_a_number(comfy: Comfy) -> None:
    assert upload(comfy, "a.png", png()).json() == {"name": "a.png", "subfolder": "", "type": "input"}
    assert upload(comfy, "a.png", png()).json()["name"] == "a.png"
    assert [upload(comfy, "a.png", png(each)).json()["name"] for each in ("red", "blue", "red")] == [
        "a (1).png",
        "a (2).png",
        "a (1).png",
    ]
    assert upload(comfy, "a.png", png("gold"), overwrite="true").json()["name"] == "a.png"
    assert view(comfy, filename="a.png", type="input").content == png("gold")
    other = upload(comfy, "a.png", png("navy"), subfolder="x\\y", type="temp").json()
    assert other == {"name": "a.png", "subfolder": "x/y", "type": "temp"}
    assert view(comfy, filename="a.png", subfolder="x/y", type="temp").content == png("navy")
    assert view(comfy, filename="x/y/a.png [temp]", type="input").content == png("navy")
    info = comfy.get("/object_info/LoadImage")["LoadImage"]["input"]["required"]["image"]
    assert info[0] == ["a (1).png", "a (2).png", "a.png"]
    assert info[1]["image_upload"] is True


def test_a_file_is_seen_as_it_was_handed_in(comfy: Comfy) -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 8), "red").save(file, "JPEG")
    upload(comfy, "é.jpg", file.getvalue())
    answer = view(comfy, filename="é.jpg", type="input")
    assert (answer.content, answer.headers["content-type"]) == (file.getvalue(), "image/jpeg")
    assert opened(view(comfy, filename="é.jpg", type="input", preview="webp;50").content).format == "WEBP"
    assert view(comfy, filename="é.jpg", type="output").status_code == 404


def test_a_masks_alpha_becomes_that_of_the_picture(comfy: Comfy) -> None:
    upload(comfy, "a.png", png())
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 32, 64))
    file = io.BytesIO()
    mask.save(file, "PNG")
    original = json.dumps({"filename": "a.png", "subfolder": "", "type": "input"})
    answer = upload(comfy, "m.png", file.getvalue(), "mask", original_ref=original, subfolder="clipspace")
    assert answer.json() == {"name": "m.png", "subfolder": "clipspace", "type": "input"}
    query = {"filename": "m.png", "subfolder": "clipspace", "type": "input"}
    masked = opened(view(comfy, **query).content)
    assert (masked.getpixel((0, 0)), masked.getpixel((63, 0))) == ((0, 128, 128, 0), (0, 128, 128, 255))
    assert opened(view(comfy, **query, channel="rgb").content).getpixel((0, 0)) == (0, 128, 128)
    assert opened(view(comfy, **query, channel="a").content).getpixel((0, 0)) == (0, 0, 0, 0)
    for data, reference in ((png(size=(8, 8)), original), (b"x", original), (png(), "{}"), (png(), "no JSON")):
        assert upload(comfy, "n.png", data, "mask", original_ref=reference).status_code == 400
    absent = json.dumps({"filename": "b.png", "type": "input"})
    assert "b.png" in upload(comfy, "n.png", png(), "mask", original_ref=absent).text


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_an_upload_that_breaks_off_is_refused(refusing: Comfy, kind: str) -> None:
    """Its last part, which may say where the picture belongs, would be passed over."""
    parts = ('name="image"; filename="a.png"\r\n\r\npicture', 'name="type"\r\n\r\ntemp')
    content = "\r\n".join(f"--b\r\nContent-Disposition: form-data; {part}" for part in parts)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = httpx.post(f"{refusing.url}/upload/{kind}", content=content.encode(), headers=headers)
    assert answer.status_code == 400
    assert "breaks off" in answer.text


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "..", "a/../../b.png", "x" * 400 + ".png"])
def test_no_name_leads_out_of_the_inputs(refusing: Comfy, name: str) -> None:
    for fields in ({}, {"subfolder": "../.."}, {"subfolder": "/etc"}):
        answer = upload(refusing, name, png(), **fields)
        assert (answer.status_code, answer.json()["error"]["details"].split(":")[0]) == (400, "image")


@pytest.mark.parametrize(
    ("files", "fields"),
    [({}, {}), ({"image": ("a.png", b"no picture")}, {}), ({"image": ("a.png", png())}, {"type": "models"})],
)
def test_what_is_no_upload_is_refused(refusing: Comfy, files: dict[str, Any], fields: dict[str, str]) -> None:
    answer = httpx.post(f"{refusing.url}/upload/image", files=files or {"mask": b""}, data=fields)
    assert (answer.status_code, set(answer.json())) == (400, {"error", "node_errors"})


def test_a_graph_loads_what_was_handed_in_and_what_was_made(comfy: Comfy) -> None:
    upload(comfy, "a.png", png(), subfolder="in")
    id = comfy.queue(painted_over(graph_of(), "in/a.png"))
    wait_until_done(comfy, id)
    (made,) = comfy.history(id)["outputs"]["9"]["images"]
    names = ["in\\a.png", "in/a.png [input]", f"{made['filename']} [output]"]
    ids = [comfy.queue(painted_over(graph_of(), name)) for name in names]
    wait_until_done(comfy, *ids)
    assert all(comfy.history(id)["status"]["completed"] for id in ids)


def test_a_picture_that_is_gone_is_named_with_all_else_that_is_wrong(refusing: Comfy) -> None:
    graph = painted_over(graph_of(), "photo.png")
    graph["3"]["inputs"]["steps"] = 0
    graph["22"]["inputs"]["mask"] = ["23", 0]
    graph["23"] = {"class_type": "LoadImageMask", "inputs": {"image": "photo.png", "channel": "nope"}}
    answer = refusing.post(graph).json()
    errors = {id: [each["type"] for each in entry["errors"]] for id, entry in answer["node_errors"].items()}
    assert errors == {"20": ["value_not_in_list"], "23": ["value_not_in_list"] * 2, "3": ["value_smaller_than_min"]}


def test_uploads_belong_to_the_key_that_handed_them_in(open_server: Callable[..., RunningServer]) -> None:
    keys = {name: new_key() for name in ("ann", "bob")}
    server = open_server(InstantBackend(), api_keys={name: digest for name, (_, digest) in keys.items()})
    headers = {name: {"X-API-Key": key} for name, (key, _) in keys.items()}
    files = {"image": ("a.png", png())}
    assert httpx.post(f"{server.url}/upload/image", files=files).status_code == 401
    assert httpx.post(f"{server.url}/upload/image", files=files, headers=headers["ann"]).status_code == 200
    query = {"filename": "a.png", "type": "input"}
    statuses = [httpx.get(f"{server.url}/view", params=query, headers=each).status_code for each in headers.values()]
    assert [*statuses, httpx.get(f"{server.url}/view", params=query).status_code] == [200, 404, 404]
