"""Any graph of the table's classes gives its pictures, or an error that names what is wrong: nothing else comes out."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from PIL import Image
from safetensors.torch import load_file, save_file

from engine import BadRequest, Engine, EngineConfig, EngineError, GenerationFailed, OutOfMemory, Workflow
from tests.adapters import write_adapter
from tests.checkpoints import VAE, write_tiny_checkpoint
from tests.controls import write_controlnet
from tests.engine.checkpoint.test_upscaler import weights
from tests.graphs_drawn import FILES, PICTURES, runnable_graphs


def _bytes(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


INPUTS: Mapping[str, bytes] = {
    "photo.png": _bytes(Image.effect_noise((70, 50), 60).convert("RGBA"), "PNG"),
    "mask.png": _bytes(Image.linear_gradient("L").resize((33, 65)), "PNG"),
    "pixel.png": _bytes(Image.new("RGB", (1, 1), "teal"), "PNG"),
    "frames.gif": _bytes(Image.new("P", (24, 16)), "GIF", save_all=True, append_images=[Image.new("P", (24, 16), 9)]),
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("models")
    for kind in FILES:
        (folder / kind).mkdir()
    checkpoint = folder / "checkpoints" / "tiny.safetensors"
    write_tiny_checkpoint(checkpoint)
    vae = {name.removeprefix(VAE): tensor for name, tensor in load_file(checkpoint).items() if name.startswith(VAE)}
    save_file(vae, folder / "vae" / "tiny.safetensors")
    write_adapter(folder / "loras" / "ink.safetensors")
    write_controlnet(folder / "controlnet" / "control.safetensors")
    save_file({"emb_params": torch.ones(2, 64)}, folder / "embeddings" / "dot.safetensors")
    save_file(weights(enlargements=1), folder / "upscale_models" / "larger.safetensors")
    with Engine(EngineConfig(checkpoint="tiny", models_folders=(folder,), device="cpu", unet_rows=4)) as engine:
        yield engine


def carried_out_or_refused(engine: Engine, graph: dict[str, Any]) -> None:
    assert set(INPUTS) == set(PICTURES)
    try:
        result = engine.generate(Workflow.from_comfyui(graph), inputs=INPUTS)
    except BadRequest as error:
        assert re.match(r"workflow node \S+ \(\w+\) \w+", error.field), error
    except OutOfMemory:
        pass
    except GenerationFailed as error:
        assert not re.match(r"\w+(Error|Exception):", str(error)), error  # no error of Python's
    except EngineError as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    else:
        assert set(result.outputs) == {id for id, node in graph.items() if node["class_type"] == "SaveImage"}
        assert all(result.outputs.values())


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(graph=runnable_graphs())
def test_any_graph_gives_its_pictures_or_an_error_that_names_what_is_wrong(
    engine: Engine, graph: dict[str, Any]
) -> None:
    carried_out_or_refused(engine, graph)


@pytest.mark.slow
@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
@given(graph=runnable_graphs())
def test_a_thousand_graphs_give_their_pictures_or_errors(engine: Engine, graph: dict[str, Any]) -> None:
    carried_out_or_refused(engine, graph)
