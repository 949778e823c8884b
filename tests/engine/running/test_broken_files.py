"""Files that are broken, or do not fit, name the node that names them and its input, beside the file and the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine import BrokenCheckpoint, Engine, EngineConfig, GenerationRequest, Workflow
from engine.request_parts import Lora
from tests.adapters import QUERY, low_rank, write_adapter
from tests.checkpoints import write_tiny_checkpoint, write_vae
from tests.controls import write_controlnet


def cut(path: Path) -> None:
    """Leave half of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def spoilt(path: Path) -> None:
    """Put NaN into every tensor of a file."""
    save_file({name: torch.full_like(tensor, torch.nan) for name, tensor in load_file(path).items()}, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken")
    write_tiny_checkpoint(folder / "tiny.safetensors", seed=0)
    cut(write_tiny_checkpoint(folder / "cut.safetensors", seed=1))
    for name in ("loras", "vae", "controlnet", "embeddings", "upscale_models"):
        (folder / name).mkdir()
    spoilt(write_adapter(folder / "loras" / "lora_nan.safetensors"))
    cut(write_adapter(folder / "loras" / "lora_cut.safetensors"))
    save_file(low_rank("lora_unet_" + QUERY.replace(".", "_"), 32, 48), folder / "loras" / "lora_shape.safetensors")
    save_file(
        low_rank("lora_te2_text_model_encoder_layers_0_mlp_fc1", 256, 64), folder / "loras" / "lora_xl.safetensors"
    )
    cut(write_vae(folder / "vae" / "vae_cut.safetensors", folder / "tiny.safetensors"))
    spoilt(write_controlnet(folder / "controlnet" / "control_nan.safetensors"))
    save_file({"emb_params": torch.full((2, 64), torch.nan)}, folder / "embeddings" / "words_nan.safetensors")
    save_file({"model.0.weight": torch.zeros(4, 3, 3, 3)}, folder / "upscale_models" / "up_odd.safetensors")
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    with Engine(EngineConfig(models_folders=(folder,), device="cpu", unet_rows=4)) as engine:
        yield engine


def graph(**changes: Any) -> dict[str, Any]:
    """One step of 64 × 64 pixels, with the nodes in ``changes`` added or put in the place of others."""
    nodes = {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a boat", "clip": ["4", 1]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["4", 0], "positive": ["6", 0], "negative": ["6", 0], "latent_image": ["5", 0], "denoise": 1.0,
                "seed": 1, "steps": 1, "cfg": 2.0, "sampler_name": "euler", "scheduler": "normal",
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
    }  # fmt: skip
    for id, (class_type, inputs) in changes.items():
        node: Any = nodes.get(id.strip("n"), {"inputs": {}})
        nodes[id.strip("n")] = {"class_type": class_type, "inputs": node["inputs"] | inputs}
    return nodes


def with_lora(name: str) -> dict[str, Any]:
    """The LoRA stands behind another node for models, so that the sampler's model is made of both."""
    inputs = {"lora_name": name, "strength_model": 1.0, "strength_clip": 1.0, "model": ["4", 0], "clip": ["4", 1]}
    shift = ("ModelSamplingDiscrete", {"model": ["20", 0], "sampling": "eps", "zsnr": False})
    changed = {"n20": ("LoraLoader", inputs), "n21": shift, "n3": ("KSampler", {"model": ["21", 0]})}
    return graph(**changed, n6=("CLIPTextEncode", {"clip": ["20", 1]}))


def with_control(name: str) -> dict[str, Any]:
    made = graph(n3=("KSampler", {"positive": ["12", 0]}))
    made["10"] = {"class_type": "ControlNetLoader", "inputs": {"control_net_name": name}}
    made["11"] = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 5}}
    inputs = {"conditioning": ["6", 0], "control_net": ["10", 0], "image": ["11", 0], "strength": 1.0}
    made["12"] = {"class_type": "ControlNetApply", "inputs": inputs}
    return made


def with_upscaler(name: str) -> dict[str, Any]:
    made = graph(n9=("SaveImage", {"images": ["31", 0]}))
    made["30"] = {"class_type": "UpscaleModelLoader", "inputs": {"model_name": name}}
    inputs = {"upscale_model": ["30", 0], "image": ["8", 0]}
    made["31"] = {"class_type": "ImageUpscaleWithModel", "inputs": inputs}
    return made


def with_vae(name: str) -> dict[str, Any]:
    made = graph(n8=("VAEDecode", {"vae": ["15", 0]}))
    made["15"] = {"class_type": "VAELoader", "inputs": {"vae_name": name}}
    return made


BROKEN = {
    "cut.safetensors": (
        graph(n4=("CheckpointLoaderSimple", {"ckpt_name": "cut.safetensors"})),
        "4 (CheckpointLoaderSimple) ckpt_name",
    ),
    **{
        f"lora_{what}.safetensors": (with_lora(f"lora_{what}.safetensors"), "20 (LoraLoader) lora_name")
        for what in ("nan", "cut", "shape", "xl")
    },
    "vae_cut.safetensors": (with_vae("vae_cut.safetensors"), "15 (VAELoader) vae_name"),
    "control_nan.safetensors": (with_control("control_nan.safetensors"), "10 (ControlNetLoader) control_net_name"),
    "words_nan.safetensors": (
        graph(n6=("CLIPTextEncode", {"text": "a boat, embedding:words_nan"})),
        "6 (CLIPTextEncode) text",
    ),
    "up_odd.safetensors": (with_upscaler("up_odd.safetensors"), "30 (UpscaleModelLoader) model_name"),
}


@pytest.mark.parametrize("file", BROKEN)
def test_the_node_and_its_input_are_named(engine: Engine, folder: Path, file: str) -> None:
    posted, place = BROKEN[file]
    with pytest.raises(BrokenCheckpoint) as caught:
        engine.generate(Workflow.from_comfyui(posted))
    error = caught.value
    assert error.field == f"workflow node {place}"
    assert error.path.name == file
    assert str(error) == f"workflow node {place}: {error.path}: {error.reason}"
    assert str(folder) not in str(error.without_folder)
    assert str(error.without_folder) == f"workflow node {place}: {file}: {error.reason}"


def test_a_requests_field_is_named(engine: Engine) -> None:
    loras = (Lora(name="lora_nan", strength=0.0), Lora(name="lora_cut"))
    request = GenerationRequest(model="tiny", width=64, height=64, steps=1, loras=loras)
    with pytest.raises(BrokenCheckpoint, match=r"^loras\[1\]\.name: .*lora_cut\.safetensors: "):
        engine.generate(request)


def test_each_of_two_requests_that_wait_for_one_file_names_its_own_node(engine: Engine) -> None:
    first = with_lora("lora_nan.safetensors")
    second = {("40" if id == "20" else id): node for id, node in with_lora("lora_nan").items()}
    second["21"]["inputs"]["model"], second["6"]["inputs"]["clip"] = ["40", 0], ["40", 1]
    handles = [engine.submit(Workflow.from_comfyui(each)) for each in (first, second)]
    for id, handle in zip(("20", "40"), handles, strict=True):
        with pytest.raises(BrokenCheckpoint, match=rf"^workflow node {id} \(LoraLoader\) lora_name: "):
            handle.result(60)
