"""ControlNets that hold what is to be added to a model's weights, and other files that are loaded in their place."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine import Engine, EngineConfig, Workflow
from engine.errors import BrokenCheckpoint
from engine.running.loading import source_of
from engine.workflow.controls import ControlFile, ControlFileForModel
from engine.workflow.models import Checkpoint
from tests.adapters import write_adapter
from tests.checkpoints import write_tiny_checkpoint
from tests.controls import write_controlnet
from tests.engine.running.test_controls import graph, plain

_UNET, _CONTROL = "model.diffusion_model.", "control_model."


def write_difference(path: Path, base: Path) -> Path:
    """Write a ControlNet of differences from ``base`` to ``path``, and to ``whole.safetensors`` beside it the sums.

    All is in float16: the sums are rounded to it.
    """
    difference = {name: value.half() for name, value in load_file(write_controlnet(path, seed=3)).items()}
    model = load_file(base)
    whole = dict(difference)
    for name in difference:
        below = model.get(name.replace(_CONTROL, _UNET))
        whole[name] = difference[name] if below is None else below.half() + difference[name]
    save_file(difference | {"difference": torch.zeros(0)}, path)
    save_file(whole, path.with_name("whole.safetensors"))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "controlnet").mkdir()
    base = write_tiny_checkpoint(folder / "tiny.safetensors")
    write_tiny_checkpoint(folder / "other.safetensors", seed=5)
    nine, first = load_file(base), f"{_UNET}input_blocks.0.0.weight"
    nine[first] = nine[first].repeat(1, 3, 1, 1)[:, :9].clone()
    save_file(nine, folder / "nine.safetensors")
    write_adapter(folder / "loras" / "lora.safetensors")
    write_difference(folder / "controlnet" / "difference.safetensors", base)
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    with Engine(EngineConfig(checkpoint="tiny", models_folders=(folder,), device="cpu")) as engine:
        yield engine


def latents(engine: Engine, graph: Any) -> Tensor:
    return engine.generate(Workflow.from_comfyui(graph)).latents


def with_model(graph: Any, model: str = "4") -> Any:
    """The same graph, whose ControlNet is loaded for the model of a node."""
    made = copy.deepcopy(graph)
    made["10"]["class_type"] = "DiffControlNetLoader"
    made["10"]["inputs"]["model"] = [model, 0]
    return made


def test_differences_are_added_to_the_models_weights(engine: Engine) -> None:
    found = latents(engine, with_model(graph(file="difference")))
    assert torch.equal(found, latents(engine, graph(file="whole")))
    assert not torch.equal(found, latents(engine, plain()))


def test_what_differences_make_depends_on_the_model_and_its_loras(engine: Engine) -> None:
    found = [latents(engine, with_model(graph(file="difference")))]
    other = with_model(graph(file="difference"), "20")
    other["20"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "other"}}
    changed = with_model(graph(file="difference"), "20")
    changed["20"] = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"model": ["4", 0], "lora_name": "lora", "strength_model": 1.0},
    }
    for each in (other, changed):
        made = latents(engine, each)
        assert not any(torch.equal(made, before) for before in found)
        found.append(made)


def test_a_whole_file_is_the_same_network_for_every_model(engine: Engine, folder: Path) -> None:
    assert torch.equal(latents(engine, with_model(graph(file="whole"))), latents(engine, graph(file="whole")))
    name = str(folder / "controlnet" / "whole.safetensors")
    for model in ("tiny", "other"):
        base = Checkpoint(name=str(folder / f"{model}.safetensors"))
        (plain_file,) = source_of(ControlFileForModel(name=name, model=base)).bases
        assert plain_file == source_of(ControlFile(name=name))


def test_differences_without_their_model_are_refused(engine: Engine) -> None:
    with pytest.raises(BrokenCheckpoint, match="DiffControlNetLoader"):
        latents(engine, graph(file="difference"))
    other = with_model(graph(file="difference"), "20")
    other["20"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "nine"}}
    with pytest.raises(BrokenCheckpoint, match=r"another model's weights: conv_in\.weight has shape \(32, 4, 3, 3\)"):
        latents(engine, other)


def test_a_written_graph_is_read_back_as_the_same_workflow() -> None:
    workflow = Workflow.from_comfyui(with_model(graph(file="difference")))
    written = Workflow(outputs=workflow.outputs).to_comfyui()
    assert list(Workflow.from_comfyui(written).outputs.values()) == list(workflow.outputs.values())
