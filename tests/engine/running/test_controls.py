"""ControlNets and T2I-adapters in workflows: what they change, what they leave alone, and which files are refused."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine import Engine, EngineConfig, Workflow
from engine.errors import BadRequest, BrokenCheckpoint
from engine.running.loading import source_of
from engine.workflow.controls import ControlFile
from engine.workflow.needs import needs_of
from tests.checkpoints import write_tiny_checkpoint
from tests.controls import write_adapter, write_controlnet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_tiny_checkpoint(folder / "tiny.safetensors")
    (folder / "controlnet").mkdir()
    write_controlnet(folder / "controlnet" / "control.safetensors")
    write_controlnet(folder / "controlnet" / "wide.safetensors", channels=64)
    write_adapter(folder / "controlnet" / "adapter.safetensors")
    damaged = write_controlnet(folder / "controlnet" / "nan.safetensors")
    save_file(
        {"lora_unet_mid_block_attentions_0_proj_in.lora_up.weight": torch.ones(4, 4)}, folder / "lora.safetensors"
    )
    from safetensors.torch import load_file

    tensors = load_file(damaged)
    tensors["control_model.zero_convs.0.0.bias"].fill_(torch.nan)
    save_file(tensors, damaged)
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    with Engine(EngineConfig(checkpoint="tiny", models_folders=(folder,), device="cpu", unet_rows=4)) as engine:
        yield engine


def graph(*, seed: int = 0, file: str = "control", colour: int = 0xC08020, batch: int = 1, **advanced: Any) -> Any:
    """Two steps of 64 × 64 pixels, both prompts steered by a picture of one colour."""
    inputs = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0} | advanced
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": batch}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red boat", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "night", "clip": ["4", 1]}},
        "10": {"class_type": "ControlNetLoader", "inputs": {"control_net_name": file}},
        "11": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": colour}},
        "12": {
            "class_type": "ControlNetApplyAdvanced",
            "inputs": {
                "positive": ["6", 0],
                "negative": ["7", 0],
                "control_net": ["10", 0],
                "image": ["11", 0],
                **inputs,
            },
        },
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["4", 0],
                "positive": ["12", 0],
                "negative": ["12", 1],
                "latent_image": ["5", 0],
                "seed": seed,
                "steps": 2,
                "cfg": 6.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1,
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "boat"}},
    }


def plain(seed: int = 0, batch: int = 1) -> Any:
    """The same without a control."""
    bare = graph(seed=seed, batch=batch)
    bare["3"]["inputs"] |= {"positive": ["6", 0], "negative": ["7", 0]}
    return bare


def applied(graph: Any) -> Any:
    """The same graph with ``ControlNetApply``, which is given the positive prompt alone."""
    other = copy.deepcopy(graph)
    inputs = {"conditioning": ["6", 0], "control_net": ["10", 0], "image": ["11", 0], "strength": 1.0}
    other["12"] = {"class_type": "ControlNetApply", "inputs": inputs}
    other["3"]["inputs"]["negative"] = ["7", 0]
    return other


def latents(engine: Engine, graph: Any) -> Tensor:
    return engine.generate(Workflow.from_comfyui(graph)).latents


def test_controls_have_the_same_bits_alone_and_beside_others(engine: Engine) -> None:
    graphs = [
        graph(),
        plain(1),
        graph(seed=2, file="adapter"),
        graph(seed=3, batch=2),
        applied(graph(seed=4)),
        plain(5),
    ]
    alone = [latents(engine, each) for each in graphs]
    handles = [engine.submit(Workflow.from_comfyui(each)) for each in graphs]
    together = [handle.result(timeout=300).latents for handle in handles]
    assert all(map(torch.equal, alone, together))


@pytest.mark.parametrize("file", ["control", "adapter"])
def test_a_strength_of_0_does_nothing_and_others_do_something(engine: Engine, file: str) -> None:
    bare = latents(engine, plain())
    assert torch.equal(latents(engine, graph(file=file, strength=0)), bare)
    found = [latents(engine, graph(file=file, strength=strength)) for strength in (0.5, 1.0)]
    assert not torch.equal(found[0], bare)
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(latents(engine, graph(file=file, colour=0)), found[1])


def test_a_range_that_no_step_falls_into_does_nothing(engine: Engine) -> None:
    assert torch.equal(latents(engine, graph(start_percent=0.1, end_percent=0.2)), latents(engine, plain()))
    assert not torch.equal(latents(engine, graph(end_percent=0.2)), latents(engine, plain()))


def test_a_lone_apply_steers_the_negative_prompt_too(engine: Engine) -> None:
    assert torch.equal(latents(engine, applied(graph())), latents(engine, graph()))
    positive_alone = graph()
    positive_alone["3"]["inputs"]["negative"] = ["7", 0]
    assert not torch.equal(latents(engine, positive_alone), latents(engine, graph()))


def test_the_same_file_under_two_names_is_resident_once(engine: Engine) -> None:
    two = graph()
    two["13"] = copy.deepcopy(two["10"])
    two["13"]["inputs"]["control_net_name"] = "control.safetensors"
    two["14"] = copy.deepcopy(two["12"])
    two["14"]["inputs"] |= {"positive": ["12", 0], "negative": ["12", 1], "control_net": ["13", 0]}
    two["3"]["inputs"] |= {"positive": ["14", 0], "negative": ["14", 1]}
    assert not torch.equal(latents(engine, two), latents(engine, graph()))


def test_a_written_graph_is_read_back_as_the_same_workflow() -> None:
    for each in (graph(), applied(graph()), graph(start_percent=0.25, end_percent=0.5, strength=0.3)):
        workflow = Workflow.from_comfyui(each)
        written = Workflow(outputs=workflow.outputs).to_comfyui()
        assert list(Workflow.from_comfyui(written).outputs.values()) == list(workflow.outputs.values())


def test_a_controlnet_counts_as_half_a_prediction() -> None:
    def work(graph: Any) -> float:
        return needs_of(Workflow.from_comfyui(graph)).work

    steps = work(plain()) - work(plain()) / 3  # of two steps and a decode, which is one
    assert work(graph()) - work(plain()) == pytest.approx(steps / 2)
    assert work(applied(graph())) == pytest.approx(work(graph()))
    assert work(graph(start_percent=0.5)) - work(plain()) == pytest.approx(steps / 4)
    assert work(graph(strength=0)) == work(plain())


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("missing", "control_net_name"),
        ("lora", "but it is a LoRA"),
        ("tiny", "but it is a checkpoint"),
    ],
)
def test_other_files_are_refused_before_anything_runs(engine: Engine, file: str, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        engine.submit(Workflow.from_comfyui(graph(file=file)))
    assert said in str(caught.value)
    assert "node 10 (ControlNetLoader)" in str(caught.value)


def test_a_controlnet_for_another_size_of_unet_is_refused_with_its_node(engine: Engine) -> None:
    with pytest.raises(BadRequest) as caught:
        latents(engine, graph(file="wide"))
    assert "node 12 (ControlNetApplyAdvanced) control_net" in str(caught.value)
    assert "32 channels wide" in str(caught.value)


def test_a_damaged_file_fails_its_own_request_alone(engine: Engine) -> None:
    sound = engine.submit(Workflow.from_comfyui(graph()))
    with pytest.raises(BrokenCheckpoint, match="NaN"):
        latents(engine, graph(file="nan"))
    assert sound.result(timeout=300).latents.isfinite().all()


@pytest.mark.parametrize(("name", "value"), [("strength", 11), ("strength", -1), ("start_percent", 1.5)])
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(BadRequest, match=name):
        Workflow.from_comfyui(graph(**{name: value}))


def test_edges_steer_as_a_picture_does(engine: Engine) -> None:
    edged = graph()
    edged["15"] = {
        "class_type": "Canny",
        "inputs": {"image": ["11", 0], "low_threshold": 0.4, "high_threshold": 0.8},
    }
    edged["12"]["inputs"]["image"] = ["15", 0]
    assert torch.equal(latents(engine, edged), latents(engine, graph(colour=0)))  # one colour has no edges


def test_what_is_found_out_about_a_controlnet_is_kept_for_the_next_process(folder: Path, tmp_path: Path) -> None:
    case, cache = ("linear", 2, 3), tmp_path / "cache"
    source = source_of(ControlFile(name=str(folder / "controlnet" / "control.safetensors")))

    def noted(piece: int | None) -> int | None:
        """What was kept; ``piece`` is noted."""
        config = EngineConfig(checkpoint="tiny", models_folders=(folder,), device="cpu", cache_folder=cache)
        with Engine(config) as engine:
            lease = engine._pool.acquire(source)
            (controller,) = lease.resident.result()
            kept: int | None = controller.calls._hints.piece(case)
            if piece is not None:
                controller.calls._hints.note_piece(case, piece)
            lease.release()
        return kept

    assert noted(4) is None
    end = time.monotonic() + 30
    while not list(cache.glob("*.json")) and time.monotonic() < end:
        gc.collect()
        time.sleep(0.05)  # it is written on a thread of its own
    assert noted(None) == 4


def test_a_soft_control_steers_less_and_is_written_as_a_node_of_its_own(engine: Engine) -> None:
    def soft(file: str) -> Any:
        made = graph(file=file)
        inputs = made["12"]["inputs"]
        for id, name in (("13", "positive"), ("14", "negative")):
            own = {"conditioning": inputs[name], **{key: value for key, value in inputs.items() if key not in PROMPTS}}
            made[id] = {"class_type": "ControlNetApplySoft", "inputs": own}
            made["3"]["inputs"][name] = [id, 0]
        return made

    without = latents(engine, plain())
    for file in ("control", "adapter"):
        hard, gentle = latents(engine, graph(file=file)), latents(engine, soft(file))
        assert 0 < float((gentle - without).norm()) < float((hard - without).norm())
        workflow = Workflow.from_comfyui(soft(file))
        assert list(Workflow.from_comfyui(Workflow(outputs=workflow.outputs).to_comfyui()).outputs.values()) == list(
            workflow.outputs.values()
        )


PROMPTS = ("positive", "negative")
