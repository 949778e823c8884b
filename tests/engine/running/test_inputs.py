"""Workflows that begin from pictures: alone or beside others, refused by name, in tiles where memory is short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from engine import BadRequest, Engine, Workflow
from tests.requests import same, small

PHOTO = Image.effect_noise((64, 64), 80).convert("RGB")


def painted_over(image: str = "photo.png", **changes: Any) -> dict[str, Any]:
    """The graph of a picture that is painted over, by half, where its mask says so."""
    sampler = {"seed": 3, "steps": 3, "cfg": 5.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.5}
    links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["6", 0], "latent_image": ["12", 0]}
    graph: dict[str, Any] = {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny"}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a boat", "clip": ["4", 1]}},
        "10": {"class_type": "LoadImage", "inputs": {"image": image}},
        "11": {"class_type": "VAEEncode", "inputs": {"pixels": ["10", 0], "vae": ["4", 2]}},
        "13": {"class_type": "SolidMask", "inputs": {"value": 0.5, "width": 20, "height": 30}},
        "12": {"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["11", 0], "mask": ["13", 0]}},
        "3": {"class_type": "KSampler", "inputs": sampler | links},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
    }
    return graph | changes


def workflow(**changes: Any) -> Workflow:
    return Workflow.from_comfyui(painted_over(**changes))


def test_a_picture_is_painted_over_to_the_same_bytes_alone_and_beside_others(engine: Engine, tmp_path: Path) -> None:
    PHOTO.save(tmp_path / "photo.png")
    alone = engine.generate(workflow(), inputs=tmp_path)
    assert alone.images[0].size == (64, 64)
    assert set(alone.record["inputs"]) == {"photo.png"}
    handles = [engine.submit(small(seed=seed)) for seed in range(2)]
    beside = [engine.submit(workflow(), inputs=[{"photo.png": PHOTO}]) for _ in range(2)]
    assert all(same(handle.result(60), alone) for handle in beside)
    assert [handle.result(60).images[0].size for handle in handles] == [(64, 64)] * 2
    assert not same(engine.generate(workflow(), inputs={"photo.png": PHOTO.rotate(90)}), alone)


@pytest.mark.parametrize(
    ("inputs", "allowed"),
    [
        ((), "there are none"),
        ({"other.png": PHOTO}, r"handed in: other\.png"),
        ({"photo.png": b"no picture"}, "a whole picture"),
        ({"photo.png": Image.new("RGB", (7, 700))}, "at least 8 × 8 pixels"),
    ],
)
def test_a_picture_that_cannot_be_used_is_refused_at_its_place(engine: Engine, inputs: Any, allowed: str) -> None:
    with pytest.raises(BadRequest, match=allowed) as caught:
        engine.submit(workflow(), inputs=inputs)
    assert caught.value.field in ("workflow node 10 (LoadImage) image", "workflow node 11 (VAEEncode) pixels")


def test_a_mask_is_fitted_to_pictures_of_a_whole_cell_alone(engine: Engine) -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a"}},
        "2": {"class_type": "FitMaskToImage", "inputs": {"mask": ["1", 1], "image": ["1", 0]}},
        "3": {"class_type": "MaskToImage", "inputs": {"mask": ["2", 0]}},
        "9": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    result = engine.generate(Workflow.from_comfyui(graph), inputs={"a": Image.new("RGB", (8, 23))})
    assert result.images[0].size == (8, 16)
    with pytest.raises(BadRequest, match="8 × 8 pixels") as refused:
        engine.submit(Workflow.from_comfyui(graph), inputs={"a": Image.new("RGB", (7, 23))})
    assert refused.value.field == "workflow node 2 (FitMaskToImage) image"


def test_a_workflow_of_pictures_alone_needs_no_checkpoint(engine: Engine) -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a"}},
        "2": {"class_type": "ImageScaleBy", "inputs": {"image": ["1", 0], "upscale_method": "area", "scale_by": 0.5}},
        "3": {"class_type": "JoinImageWithAlpha", "inputs": {"image": ["2", 0], "alpha": ["1", 1]}},
        "9": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    result = engine.generate(Workflow.from_comfyui(graph), inputs={"a": PHOTO}, keep=[("2", 0), ("1", 1)])
    assert result.images[0].mode == "RGBA"
    assert result.images[0].size == (32, 32)
    assert result.kept["2", 0].shape == (1, 32, 32, 3)
    assert result.kept["1", 1].shape == (1, 64, 64)
    assert len(result.latents) == 0


def test_where_memory_is_short_the_vae_works_in_tiles_and_the_record_says_so(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = engine.generate(workflow(), inputs={"photo.png": PHOTO})
    assert "tiled" not in whole.record
    nodes = {node for node in workflow().nodes if type(node).__name__ in ("Encode", "Decode")}
    monkeypatch.setattr("engine.running.loop.check_room", lambda *_: nodes)
    tiled = engine.generate(workflow(), inputs={"photo.png": PHOTO})
    assert tiled.record["tiled"] == ["11", "8"]
    assert torch.allclose(tiled.latents, whole.latents, atol=0.5)
