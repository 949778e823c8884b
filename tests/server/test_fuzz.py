"""Sends junk to every route of every dialect: it never finds a defect, and each refusal is in the words of its
dialect."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import websocket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import GenerationRequest
from engine.formats.comfyui import api_workflow
from engine.request import MAX_SEED
from server.app import create_app
from server.backends.instant import InstantBackend
from server.dialects.registry import DIALECTS
from server.settings import Settings
from tests.server.conftest import RunningServer, running, settings_in

FORMS = {
    "native": {"type", "title", "status", "detail", "kind", "field"},
    "openai": {"error"},
    "sdapi": {"error", "detail", "body", "errors"},
    "replicate": {"title", "detail", "status"},
    "huggingface": {"error"},
    "comfyui": {"error"},
}
"""The fields of each dialect's errors."""

CALLS = [
    (method.upper(), path)
    for path, operations in create_app(Settings(backend="instant")).openapi()["paths"].items()
    for method in operations
]

GRAPH = api_workflow(GenerationRequest(steps=1, width=64, height=64), checkpoint_file="instant.safetensors")
EDGES = [
    0,
    -1,
    1,
    2,
    512,
    2**31,
    2**53 + 1,
    MAX_SEED,
    MAX_SEED + 1,
    10**400,
    0.5,
    -0.0,
    1e308,
    True,
    None,
    "",
    "0",
    "\0",
]
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR4nGPUiDrBQApgIk"
PICTURE += "n1qIZRDUNKAwAjuAFqLUgYkgAAAABJRU5ErkJggg=="
EDGES += [PICTURE, f"data:image/png;base64,{PICTURE}", PICTURE[:40], "data:,", "http://127.0.0.1/x.png", "0" * 64]
EDGES += ["é🏠", "../../etc/passwd", "a\r\nb: c", "%2e%2e", "x" * 5000, [], {}, [[]], "64x64", "instant", "fail"]
WORDS = [
    *GenerationRequest.__dataclass_fields__,
    *["count", "response_format", "async", "priority", "webhook_url", "webhook_events", "idempotency_key"],
    *["n", "size", "quality", "style", "output_format", "output_compression", "background", "stream", "partial_images"],
    *["n_iter", "sampler_name", "override_settings", "alwayson_scripts", "script_name", "enable_hr", "force_task_id"],
    *["send_images", "sd_model_checkpoint", "styles", "image", "infotext", "id_task", "live_preview", "script_args"],
    *["client_id", "prompt_id", "number", "front", "extra_data", "delete", "clear", "nodes", "links", "unload_models"],
    *["version", "input", "webhook", "webhook_events_filter", "inputs", "parameters", "num_outputs", "guidance_scale"],
    *["limit", "offset", "state", "status", "sort_by", "sort_order", "filename", "type", "subfolder", "preview"],
    *["init_images", "denoising_strength", "mask_blur", "inpainting_fill", "inpaint_full_res", "hr_scale"],
    *["image[]", "strength", "prompt_strength", "loras[][name]", "controls", "original_ref", "overwrite", "kind"],
    *["hr_upscaler", "upscaling_resize", "upscaler_1", "resize_mode", "controlnet_units", "imageList", "request"],
    *["cursor", "max_items", "order", "dialect", "job_ids", "skip_current_image"],
]

FILES = [b64decode(PICTURE), b64decode(PICTURE)[:50], b"GIF89a", b"\xff\xd8\xff", b"", b"<svg/>"]
"""What may be in a form's file, or take the place of one."""

values = st.one_of(
    st.sampled_from(EDGES),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=8,
    ),
)
objects = st.dictionaries(st.sampled_from(WORDS), values, max_size=5)


@st.composite
def spoilt_graphs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the workflow with a wrong value in one place."""
    graph = json.loads(json.dumps(GRAPH))
    node = draw(st.sampled_from(sorted(graph)))
    place = draw(st.sampled_from(["class_type", "inputs", *graph[node]["inputs"]]))
    target = graph[node] if place in ("class_type", "inputs") else graph[node]["inputs"]
    target[place] = draw(values)
    return {"prompt": graph, "client_id": "fuzz"}


bodies = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [b"", b"{}", b"[", b"[" * 5000, b"null", b"\xff\xfe", b'{"a": NaN}', b'{"seed": 1e999}', b"\x89PNG\r\n\x1a\n"]
    ),
    st.one_of(objects, values, spoilt_graphs()).map(lambda value: json.dumps(value).encode()),
    objects.map(lambda value: json.dumps({"input": value, "inputs": "x", "parameters": value, "prompt": "x"}).encode()),
)
names = st.text(min_size=1, max_size=20) | st.sampled_from(
    ["instant", "unknown", "..", "x.png", "a" * 300, "\0", "checkpoints"]
)
queries = st.dictionaries(
    st.sampled_from(WORDS), st.text(max_size=8) | st.sampled_from(["-1", "1e9", "9" * 30]), max_size=3
)
headers = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(["application/json", "text/plain", "multipart/form-data", "image/png", "a;;"]),
        "Accept": st.sampled_from(["image/png", "text/event-stream", "*/*", "image/webp;q=x", "application/x-nothing"]),
        "Prefer": st.sampled_from(["respond-async", "wait", "wait=1", "wait=-1", "wait=99999999999", ",;="]),
        "Idempotency-Key": st.sampled_from(["k", "x" * 300]),
        "X-Job-Id": st.sampled_from(["j", "../x", "j" * 300]),
        "Last-Event-ID": st.sampled_from(["1", "x", "-1", "9" * 40]),
        "If-None-Match": st.just('"x", W/"y"'),
        "Range": st.sampled_from(["bytes=0-1", "bytes=9-1", "x"]),
        "X-Request-Id": st.just("x" * 100),
    },
)
parts = st.binary(max_size=40) | st.sampled_from(FILES) | values.map(lambda value: json.dumps(value).encode())
forms = st.dictionaries(
    st.sampled_from(WORDS),
    st.tuples(st.none() | names, parts),
    min_size=1,
    max_size=4,
)
bounded = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    limits = {"max_pixels": 512 * 512, "max_pictures": 4, "max_steps": 50, "max_body_bytes": 20_000}
    with running(settings_in(tmp_path_factory.mktemp("fuzz"), **limits), InstantBackend()) as server:
        yield server


def check(answer: httpx.Response, path: str) -> None:
    """Check that an answer shows no defect, and that its dialect words a refusal."""
    wanted = answer.request
    if b"fail" not in wanted.content:  # the word at which the instant backend fails
        assert answer.status_code < 500, (wanted.method, path, wanted.content[:300], answer.text[:300])
    if answer.status_code >= 400 and wanted.method != "HEAD":
        dialect = next(each for each in DIALECTS if each.owns(path)).name
        assert answer.headers["content-type"] in ("application/json", "application/problem+json"), path
        assert FORMS[dialect] <= answer.json().keys(), (dialect, path, answer.text[:300])


@pytest.mark.parametrize(("method", "pattern"), CALLS, ids=str)
def test_junk_is_refused_in_the_dialects_own_words(method: str, pattern: str, server: RunningServer) -> None:
    @given(body=bodies, query=queries, headers=headers, name=names)
    @bounded
    def call(body: bytes, query: dict[str, str], headers: dict[str, str], name: str) -> None:
        path = "/".join(name if part.startswith("{") else part for part in pattern.split("/"))
        content = body if method in ("POST", "PUT", "PATCH") else None
        with client.stream(method, quote(path), content=content, params=query, headers=headers) as answer:
            answer.read()
        check(answer, path)

    with httpx.Client(base_url=server.url, timeout=60) as client:
        call()


@pytest.mark.parametrize("path", [path for method, path in CALLS if method == "POST"], ids=str)
def test_forms_of_junk_and_pictures_are_refused_in_the_dialects_own_words(path: str, server: RunningServer) -> None:
    @given(form=forms)
    @bounded
    def call(form: dict[str, tuple[str | None, bytes]]) -> None:
        place = path.replace("{", "").replace("}", "")
        request = client.build_request("POST", place, files=form)
        request.read()  # so that it can be shown
        check(client.send(request), place)

    with httpx.Client(base_url=server.url, timeout=60) as client:
        call()


def test_paths_and_methods_that_nobody_has_are_refused_too(server: RunningServer) -> None:
    starts = ["/", "/v1/", "/sdapi/v1/", "/api/", "/api/v1/", "/hf/", "/replicate/", "/history/", "/view/", "/ws", "//"]

    @given(
        start=st.sampled_from(starts),
        rest=st.text(max_size=15),
        method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]),
    )
    @settings(bounded, max_examples=150)
    def call(start: str, rest: str, method: str) -> None:
        answer = client.request(method, server.url + quote(start + rest))
        check(answer, start + rest)

    with httpx.Client(timeout=60) as client:
        call()


def test_junk_on_the_websocket_leaves_the_server_well(server: RunningServer) -> None:
    url = server.url.replace("http", "ws") + "/ws?clientId="

    @given(
        name=st.text(max_size=10),
        frames=st.lists(
            st.tuples(st.booleans(), st.binary(max_size=40) | values.map(lambda v: json.dumps(v).encode())), max_size=4
        ),
    )
    @bounded
    def talk(name: str, frames: list[tuple[bool, bytes]]) -> None:
        connection = websocket.create_connection(url + quote(name), timeout=60)
        try:
            for binary, frame in frames:
                connection.send(frame, websocket.ABNF.OPCODE_BINARY if binary else websocket.ABNF.OPCODE_TEXT)
        except (websocket.WebSocketException, OSError):
            pass  # the server may hang up on what is no UTF-8
        finally:
            connection.close()

    talk()
    assert httpx.get(f"{server.url}/readyz").status_code == 200
