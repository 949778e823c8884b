"""Checkpoints without their VAE, or without their text encoder: what works with them, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine import BadRequest, Engine, Workflow
from engine.checkpoint import inspect_checkpoint
from tests.checkpoints import TEXT, VAE, tiny_checkpoint_tensors
from tests.loading import write
from tests.requests import small

TENSORS = tiny_checkpoint_tensors()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write(folder / "tiny.safetensors", TENSORS)
    for name, prefix in (("no-vae", VAE), ("no-text", TEXT)):
        left = {name: tensor for name, tensor in TENSORS.items() if not name.startswith(prefix)}
        write(folder / f"{name}.safetensors", left)
    return folder


@pytest.fixture
def engine(open_engine: Callable[..., Engine], folder: Path) -> Engine:
    return open_engine(models_folders=(folder,))


def graph(model: str, clip: str, vae: str) -> Workflow:
    """The usual graph with a checkpoint of its own for each of the three."""
    api = small(seed=3, model=model).workflow().to_comfyui()
    for id, name, input in (("20", clip, "clip"), ("21", vae, "vae")):
        api[id] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}}
        slot = {"clip": 1, "vae": 2}[input]
        for node in api.values():
            if input in node["inputs"]:
                node["inputs"][input] = [id, slot]
    return Workflow.from_comfyui(api)


def test_what_a_checkpoint_lacks_may_come_from_another(engine: Engine) -> None:
    whole = engine.generate(small(seed=3))
    for model, clip, vae in (("no-vae", "no-vae", "tiny"), ("no-text", "tiny", "no-text"), ("no-vae", "tiny", "tiny")):
        assert torch.equal(engine.generate(graph(model, clip, vae)).latents, whole.latents)


def test_what_is_missing_is_said_where_it_is_wanted(engine: Engine) -> None:
    for name, lacking in (("no-vae", "a VAE"), ("no-text", "a text encoder")):
        with pytest.raises(BadRequest, match=f"{name}.* a checkpoint that holds {lacking}") as caught:
            engine.generate(small(model=name))
        assert caught.value.field == "model"
    with pytest.raises(BadRequest, match=r"workflow node 21 \(CheckpointLoaderSimple\) ckpt_name: .* holds a VAE"):
        engine.generate(graph("tiny", "tiny", "no-vae"))
    assert engine.generate(small(seed=3)).images


def test_the_facts_say_what_there_is(folder: Path) -> None:
    facts = {name: inspect_checkpoint(folder / f"{name}.safetensors") for name in ("tiny", "no-vae", "no-text")}
    assert (facts["no-vae"].vae_widths, facts["no-text"].text_layers) == ((), 0)
    assert facts["no-vae"].parameters < facts["tiny"].parameters > facts["no-text"].parameters
