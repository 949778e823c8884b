"""Graphs as people have them are carried out, or refused for what is wrong with them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine import BadRequest, Engine, EngineConfig, Workflow
from tests.graphs_found import BROKEN, GRAPHS, UNKNOWN_FILE, files, filled, small
from tests.pack import MEMORY

_STAND_INS = {
    "checkpoints": ("parity64", "parity64_b"),
    "loras": ("lora_a", "locon"),
    "vae": ("vae_b",),
    "controlnet": ("control_a", "control_b"),
    "upscale_models": ("esrgan_x4", "esrgan_x2"),
}
"""Folder → the recorded graphs' files that stand in for ``checkpoint1``, ``checkpoint2`` …, in turn."""

_PICTURES = ("photo.png", "photo_alpha.png")


@pytest.fixture(scope="module")
def models(pack_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a file under each name that the graphs have, of the kind that its suffix says."""
    folder = tmp_path_factory.mktemp("models")
    for kind, name in sorted({each for graph in GRAPHS.values() for each in files(filled(graph))}):
        path = folder / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "input":
            shutil.copy(pack_folder / "input" / _PICTURES[int("2" in path.name)], path)
        else:
            _write_weights(pack_folder / kind, path if path.suffix else path.with_name(f"{path.name}.safetensors"))
    return folder


def _write_weights(source: Path, path: Path) -> None:
    """Write a stand-in from the folder ``source`` to ``path``."""
    number = int(next(letter for letter in path.name if letter.isdigit())) - 1
    stand_ins = _STAND_INS[source.name]
    file = source / f"{stand_ins[number % len(stand_ins)]}.safetensors"
    if path.suffix in (".ckpt", ".pt", ".pth"):
        tensors = load_file(file)
        torch.save(tensors if path.suffix == ".pth" else {"state_dict": tensors}, path)
    elif not path.exists():
        path.symlink_to(file)


@pytest.fixture(scope="module")
def engine(models: Path) -> Iterator[Engine]:
    config = EngineConfig(models_folders=(models,), device="cpu", dtype="float32", memory_budget=MEMORY)
    with Engine(config) as engine:
        yield engine


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_as_found_gives_its_pictures_or_is_refused_for_its_own_fault(
    engine: Engine, models: Path, name: str
) -> None:
    graph = small(filled(GRAPHS[name]))
    at_fault = BROKEN.get(name) or UNKNOWN_FILE.get(name)
    try:
        result = engine.generate(Workflow.from_comfyui(graph), inputs=models / "input")
    except BadRequest as error:
        assert error.field == at_fault
        return
    assert at_fault is None
    saved = {
        id for id, node in graph.items() if node["class_type"] in ("SaveImage", "PreviewImage", "SaveImageWebsocket")
    }
    assert set(result.outputs) == saved
    for pictures in result.outputs.values():
        assert pictures
        for picture in pictures:
            assert picture.mode == "RGB"
            assert any(low < high for low, high in picture.getextrema())
