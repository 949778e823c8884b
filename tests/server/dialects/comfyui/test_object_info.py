"""Node signatures are those of the engine's table, within the server's limits and with its files."""

from __future__ import annotations

import shutil
from pathlib import Path

from engine.formats.comfyui.table import ROWS
from server.dialects.comfyui import object_info
from tests.server.conftest import RunningServer
from tests.server.dialects.comfyui.client import Comfy, graph_of

OFFER = object_info.Offer(files={"checkpoints": ["m"]}, most={"steps": 30, "width": 10**6})


def test_the_ranges_end_where_the_servers_limits_do() -> None:
    def most(class_type: str, input: str) -> int:
        config = object_info.input_config(class_type, input, OFFER)
        assert config is not None
        return int(config[1]["max"])

    assert (most("KSampler", "steps"), most("EmptyLatentImage", "width")) == (30, 16384)
    assert object_info.input_config("KSampler", "nope", OFFER) is None
    assert object_info.input_config("Nope", "steps", OFFER) is None


def test_the_signatures_are_those_of_the_engines_nodes() -> None:
    for name, row in ROWS.items():
        info = object_info.node(name, OFFER)
        if row.is_virtual:
            assert info is None
            continue
        assert info is not None
        for group, optional in (("required", False), ("optional", True)):
            names = [each for each, described in row.inputs.items() if described.optional == optional]
            assert list(info["input"].get(group, {})) == info["input_order"].get(group, []) == names
        inputs = info["input"]["required"] | info["input"].get("optional", {})
        assert tuple(info["output"]) == row.output_types
        assert info["output_node"] == row.is_output
        assert {each: inputs[each][0] for each in row.links} == dict(row.links)
    assert object_info.node("Nope", OFFER) is None


def test_no_message_says_where_the_models_folder_is(engine_server: RunningServer, models_folder: Path) -> None:
    graph = graph_of("absent.safetensors")
    graph["12"] = {"class_type": "VAELoader", "inputs": {"vae_name": "x.pt"}}
    graph["8"]["inputs"]["vae"] = ["12", 0]
    answer = Comfy(engine_server, connect=False).post(graph)
    assert set(answer.json()["node_errors"]) == {"4", "12"}
    assert "tiny" in answer.text
    assert str(models_folder) not in answer.text


def test_lists_are_fresh_once_a_file_has_come(engine_server: RunningServer, models_folder: Path) -> None:
    comfy = Comfy(engine_server, connect=False)
    before = comfy.get("/models/checkpoints")
    (models_folder / "sub").mkdir()
    shutil.copy(models_folder / before[0], models_folder / "sub" / "new.safetensors")
    try:
        assert comfy.get("/models/checkpoints") == sorted([*before, "sub/new.safetensors"])
        info = comfy.get("/object_info/CheckpointLoaderSimple")["CheckpointLoaderSimple"]["input"]["required"]
        assert "sub/new.safetensors" in info["ckpt_name"][0]
    finally:
        shutil.rmtree(models_folder / "sub")
    assert comfy.get("/models/checkpoints") == before


def test_loaders_have_the_files_of_their_kind_to_choose_from() -> None:
    every = object_info.all_nodes(OFFER)
    assert every["VAELoader"]["input"]["required"]["vae_name"][0] == []
    assert every["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] == ["m"]
