"""Calls over HTTP to the real engine: recorded ones get AUTOMATIC1111's pictures, others those of the command line."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from engine import Engine, EngineConfig, GenerationRequest
from engine.generate_flags import given_parameters, parser
from server.backends.engine import EngineBackend
from tests.pack import MEMORY
from tests.pack_a1111 import CHECKPOINT, A1111Case, cases_of
from tests.server.conftest import running
from tests.server.dialects.comfyui.client import graph_of
from tests.server.queues import settings_in

_SETTINGS: dict[str, Any] = {"device": "cpu", "dtype": "float32", "text_encoder": "float32", "memory_budget": MEMORY}

_UNMARKED = ("sampler_euler_a_automatic", "hires_latent", "i2i_d0_5")
"""The cases of ``make test``; CI runs the others too."""

_POSTED = (*_UNMARKED, "sub", "ensd_euler_a", "pic_sched_alt", "lora_loha", "i2i_batch", "hires_sampler_sched")


@pytest.fixture(scope="module")
def client(pack_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Yield a client of a server that makes AUTOMATIC1111's pictures behind its routes."""
    folder = tmp_path_factory.mktemp("server")
    settings = settings_in(
        folder,
        backend="engine",
        model=CHECKPOINT,
        models_folders=(pack_folder,),
        sdapi_pictures="a1111",
        **_SETTINGS,
    )
    with running(settings, EngineBackend(settings)) as server, httpx.Client(base_url=server.url, timeout=300) as client:
        yield client


def _posted(client: httpx.Client, route: str, body: dict[str, Any]) -> list[Any]:
    response = client.post(f"/sdapi/v1/{route}", json=body)
    assert response.status_code == 200, response.text
    return [_pixels(base64.b64decode(image)) for image in response.json()["images"]]


def _pixels(file: bytes) -> Any:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[] if case.name in _UNMARKED else [pytest.mark.slow])
        for case in cases_of("txt2img", "img2img")
        if case.name in _POSTED
    ],
)
def test_a_recorded_call_gets_the_recorded_pictures(client: httpx.Client, case: A1111Case, pack_folder: Path) -> None:
    made = _posted(client, case.kind, case.body(pack_folder / "input"))
    recorded = case.record("image").numpy()
    assert len(made) == len(recorded)
    for ours, theirs in zip(made, recorded, strict=True):
        assert int(np.abs(ours.astype(int) - theirs.reshape(ours.shape)).max()) <= 1


_OTHER: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"sampler_name": "DPM++ 2M", "steps": 7, "seed": 987654321, "width": 128, "height": 64, "cfg_scale": 5.5},
        ["--sampler", "dpmpp_2m", "--steps", "7", "--seed", "987654321", "--width", "128", "--height", "64",
         "--cfg-scale", "5.5", "--a1111", "automatic"],
    ),
    (
        {"sampler_name": "Euler a", "scheduler": "Beta", "steps": 4, "seed": 31, "width": 64, "height": 64,
         "cfg_scale": 3, "override_settings": {"randn_source": "CPU"}},
        ["--sampler", "euler_ancestral", "--steps", "4", "--seed", "31", "--width", "64", "--height", "64",
         "--cfg-scale", "3", "--a1111", "beta:cpu"],
    ),
    (
        {"sampler_name": "Euler", "steps": 3, "seed": 8, "width": 64, "height": 64, "cfg_scale": 6, "enable_hr": True,
         "denoising_strength": 0.6, "hr_upscaler": "Latent (bicubic)", "hr_scale": 1.5},
        ["--sampler", "euler", "--steps", "3", "--seed", "8", "--width", "64", "--height", "64", "--cfg-scale", "6",
         "--a1111", "automatic", "--hires", '{"scale": 1.5, "denoise": 0.6, "method": "bicubic"}'],
    ),
]  # fmt: skip
"""Calls, and the command lines for the same pictures."""

_PROMPT = "a [glass|stone] tower, (quiet harbour:1.25) AND old tram :0.6"


@pytest.fixture(scope="module")
def alone(pack_folder: Path) -> Iterator[Engine]:
    """An engine beside the server's, for one request at a time."""
    with Engine(EngineConfig(checkpoint=CHECKPOINT, models_folders=(pack_folder,), **_SETTINGS)) as engine:
        yield engine


def _by_command(arguments: list[str], engine: Engine) -> Any:
    """Return the picture that a command line asks for."""
    asked = [_PROMPT, "--negative-prompt", "blurry", "--prompt-syntax", "a1111", *arguments]
    request = GenerationRequest(**given_parameters(parser().parse_args(asked)))
    return np.asarray(engine.generate(request).images[0].convert("RGB"))


def test_other_calls_get_the_bytes_of_the_command_line_alone_and_under_load(
    client: httpx.Client, alone: Engine
) -> None:
    bodies = [{"prompt": _PROMPT, "negative_prompt": "blurry", **body} for body, _ in _OTHER]
    expected = [_by_command(arguments, alone) for _, arguments in _OTHER]
    graphs = [graph_of(f"{CHECKPOINT}.safetensors", seed=seed, steps=6) for seed in range(3)]
    with ThreadPoolExecutor(len(bodies)) as pool:
        prompts = [client.post("/prompt", json={"prompt": graph}) for graph in graphs]
        together = list(pool.map(lambda body: _posted(client, "txt2img", body)[0], bodies))
    assert [each.status_code for each in prompts] == [200] * len(graphs)
    for loaded, reference in zip(together, expected, strict=True):
        assert np.array_equal(loaded, reference)
