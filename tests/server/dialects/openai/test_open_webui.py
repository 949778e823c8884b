"""Replays the calls that Open WebUI makes of OpenAI's API, to make a picture and to edit it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.server.conftest import RunningServer
from tests.server.dialects.openai.client import picture
from tests.server.following import all_jobs, get


@pytest.fixture
def server(open_server: Callable[..., RunningServer]) -> RunningServer:
    """Run a server that knows the models which Open WebUI has built in."""
    return open_server(model_aliases={"dall-e-2": "instant", "gpt-image-1": "other"})


def call(server: RunningServer, path: str, **sent: Any) -> dict[str, Any]:
    """Make a call with Open WebUI's headers and API version, and return the one picture's entry."""
    headers = {"Authorization": "Bearer any", "X-OpenWebUI-User-Name": "me"}
    url = f"{server.url}/v1/images/{path}?api-version=2025-04-01"
    answer = httpx.post(url, headers=headers, timeout=60, **sent).raise_for_status()
    (entry,) = answer.json()["data"]
    return dict(entry)


@pytest.mark.parametrize("model", ["dall-e-2", "gpt-image-1"])
@pytest.mark.parametrize("size", [None, "auto", "64x96"])
def test_a_picture_is_made_and_edited(server: RunningServer, model: str, size: str | None) -> None:
    wanted = {} if model == "gpt-image-1" else {"response_format": "b64_json"}
    sized = {} if size is None else {"size": size}
    made = call(server, "generations", json={"model": model, "prompt": "a boat", "n": 1, **sized, **wanted})
    file = ("picture.png", base64.b64decode(made["b64_json"]), "image/png")
    shape = {"size": "64x64"} if size == "64x96" else {}
    data = {"model": model, "prompt": "a red boat", "n": "1", **shape, **wanted}
    edited = call(server, "edits", data=data, files=[("image", file)])
    again = call(server, "edits", data=data, files=[("image[]", file)])
    expected = {None: (512, 512), "auto": (512, 512), "64x96": (64, 64)}[size]
    assert picture(edited["b64_json"]).size == picture(again["b64_json"]).size == expected
    first, second, third = all_jobs(server)
    assert first.model == second.model == {"dall-e-2": "instant", "gpt-image-1": "other"}[model]
    assert (second.request.prompt, third.request.image) == ("a red boat", second.request.image)


def test_what_it_fetches_by_url(server: RunningServer) -> None:
    made = call(server, "generations", json={"model": "", "prompt": "a", "n": 1, "response_format": "url"})
    got = get(made["url"], headers={"Authorization": "Bearer any"})
    assert got.headers["content-type"].split("/")[0] == "image"
    file = {"image": ("a.png", got.content, "image/png")}
    assert picture(call(server, "edits", data={"model": "", "prompt": "b"}, files=file)["b64_json"]).size == (512, 512)
