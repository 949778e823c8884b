"""Tests how a form's names and parts become values, with FastAPI's own form parser."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from openai._qs import Querystring

from server.dialects.shared.forms import _joined, form_values, is_form
from server.problems import Problem

app = FastAPI()
seen: list[dict[str, object]] = []


@app.post("/")
async def _read(http: Request) -> bool:
    if is_form(http):
        seen.append(await form_values(http, most_bytes=100))
    return is_form(http)


async def _post(**sent: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.post("/", **sent)


@pytest.mark.anyio
async def test_texts_and_files_by_name() -> None:
    files = [("image[]", ("a.png", b"\x89a")), ("image[]", ("b.png", b"b"))]
    await _post(data={"prompt": "é", "loras[][name]": ["a", "b"], "hires[scale]": "2"}, files=files)
    assert seen[-1] == {
        "prompt": "é",
        "loras": [{"name": "a"}, {"name": "b"}],
        "hires": {"scale": "2"},
        "image": [b"\x89a", b"b"],
    }


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "kept"), [("", {}), ("empty.png", {"mask": b""})])
async def test_a_file_that_was_not_chosen_is_absent(name: str, kept: dict[str, object]) -> None:
    head = f'--b\r\nContent-Disposition: form-data; name="mask"; filename="{name}"\r\n'
    content = f"{head}Content-Type: application/octet-stream\r\n\r\n\r\n--b--\r\n".encode()
    await _post(content=content, headers={"content-type": "Multipart/Form-Data; boundary=b"})
    assert seen[-1] == kept


@pytest.mark.anyio
async def test_a_text_has_a_limit_and_a_file_none() -> None:
    assert (await _post(data={"a": "x" * 101}, files={"b": b""})).status_code == 400
    assert (await _post(data={"a": "x" * 100}, files={"b": b"x" * 1000})).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain", ""])
async def test_only_multipart_is_a_form(kind: str) -> None:
    assert (await _post(content=b"{}", headers={"content-type": kind})).json() is False


items = st.lists(st.fixed_dictionaries({"name": st.text(max_size=5), "strength": st.text(max_size=5)}), min_size=1)


@given(st.sampled_from(["brackets", "indices"]), items)
def test_openais_client_writes_lists_of_objects_that_are_read_back(way: Any, listed: list[dict[str, str]]) -> None:
    written = Querystring().stringify_items({"loras": listed}, array_format=way)
    parts = [(tuple(name.removeprefix("loras[").removesuffix("]").split("][")), value) for name, value in written]
    assert _joined("loras", parts) == listed


def test_objects_that_do_not_line_up_are_refused() -> None:
    parts = [(("", "name"), "a"), (("", "name"), "b"), (("", "strength"), "1")]
    with pytest.raises(Problem, match=r"^loras: .*2 × name, 1 × strength.*JSON text"):
        _joined("loras", parts)


@pytest.mark.parametrize("second", [("",), ("x",)])
def test_names_of_several_kinds_are_refused(second: tuple[str, ...]) -> None:
    with pytest.raises(Problem, match=r"^image: "):
        _joined("image", [((), "a"), (second, "b")])


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["", "\r\n", "\r\n--b", "\r\n--b\r\n"])
async def test_a_form_that_breaks_off_is_refused(end: str) -> None:
    parts = ('name="prompt"\r\n\r\na boat', 'name="image"; filename="a.png"\r\n\r\npicture')
    content = "\r\n".join(f"--b\r\nContent-Disposition: form-data; {part}" for part in parts)
    headers = {"content-type": 'multipart/form-data; boundary="b"'}
    with pytest.raises(Problem, match="breaks off"):
        await _post(content=(content + end).encode(), headers=headers)
    assert (await _post(content=f"{content}\r\n--b--".encode(), headers=headers)).status_code == 200
    assert seen[-1] == {"prompt": "a boat", "image": b"picture"}
