"""It says what else a file holds, and what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.checkpoint import inspect_checkpoint
from engine.errors import BrokenCheckpoint
from tests.checkpoints import TEXT, UNET, VAE, tiny_checkpoint_tensors
from tests.loading import reason, write

TENSORS = tiny_checkpoint_tensors()
WEIGHTS = {name: tensor for name, tensor in TENSORS.items() if tensor.is_floating_point()}
SOME_WEIGHT = UNET + "input_blocks.1.0.in_layers.2.weight"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([VAE + "decoder.conv_in.weight"], "VAE alone"),
        ([TEXT + "encoder.layers.0.mlp.fc1.weight"], "text encoder alone"),
        (["conditioner.embedders.0.transformer.x", UNET + "out.2.weight", VAE + "a"], "Stable Diffusion XL"),
        ([UNET + "label_emb.0.0.weight", UNET + "out.2.weight"], "Stable Diffusion XL"),
        (["cond_stage_model.model.ln_final.weight", UNET + "out.2.weight", VAE + "a"], "Stable Diffusion 2"),
        ([UNET + "joint_blocks.0.x_block.attn.proj.weight"], "Stable Diffusion 3"),
        (["double_blocks.0.img_attn.proj.weight"], "Flux"),
        (["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"], "LoRA"),
        (["unet.down_blocks.0.attn1.to_q.lora_A.weight"], "LoRA"),
        (["control_model.input_blocks.0.0.weight"], "ControlNet"),
        (["controlnet_cond_embedding.conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"], "ControlNet"),
        (["emb_params"], "textual-inversion"),
        (["down_blocks.0.resnets.0.conv1.weight", "conv_in.weight"], "UNet alone, in diffusers"),
        (["encoder.down_blocks.0.resnets.0.conv1.weight"], "VAE alone, in diffusers"),
        (["encoder.down.0.block.0.conv1.weight", "decoder.conv_in.weight"], "VAE alone"),
        (["input_blocks.0.0.weight"], "UNet alone"),
        (["text_model.encoder.layers.0.mlp.fc1.weight"], "text encoder alone"),
        (["some.thing", "else"], "2 others: else, some.thing"),
        ([], "no Stable Diffusion 1.x tensors"),
    ],
)
def test_it_says_what_else_a_file_is(tmp_path: Path, names: list[str], expected: str) -> None:
    path = write(tmp_path / "other.safetensors", {name: torch.zeros(2, 2) for name in names})
    assert expected in reason(path)
    with pytest.raises(BrokenCheckpoint):
        inspect_checkpoint(path)


@pytest.mark.parametrize(("channels", "kind"), [(8, "instruct-pix2pix"), (5, "5 channels")])
def test_models_that_take_more_than_latents(tmp_path: Path, channels: int, kind: str) -> None:
    first = {UNET + "input_blocks.0.0.weight": torch.zeros(32, channels, 3, 3)}
    assert kind in reason(write(tmp_path / "more.safetensors", TENSORS | first))


def test_missing_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    fewer = {name: tensor for name, tensor in TENSORS.items() if ".out_layers.3." not in name}
    text = reason(write(tmp_path / "fewer.safetensors", fewer))
    assert text.startswith(
        f"{len(TENSORS) - len(fewer)} of its {len(WEIGHTS)} tensors are missing: {UNET}input_blocks.1.0.out"
    )
    wrong = TENSORS | {SOME_WEIGHT: torch.zeros(64, 32, 3, 3)}
    assert f"{SOME_WEIGHT} has shape (64, 32, 3, 3), where (32, 32, 3, 3)" in reason(
        write(tmp_path / "w.safetensors", wrong)
    )


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64])
def test_other_number_formats_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    odd = TENSORS | {SOME_WEIGHT: TENSORS[SOME_WEIGHT].to(dtype)}
    text = reason(write(tmp_path / "odd.safetensors", odd))
    assert f"{SOME_WEIGHT} is stored as " in text
    assert "only float16, bfloat16, float32, float64, float8_e4m3fn, float8_e5m2 are read" in text


def test_names_that_a_terminal_would_obey_are_not_repeated(tmp_path: Path) -> None:
    text = reason(write(tmp_path / "names.safetensors", {"\x1b[2J" + "x" * 500: torch.zeros(1)}))
    assert "?[2Jxxx" in text
    assert len(text) < 300
