"""Writes the trained networks to one file in the layout of Stable Diffusion 1.x single-file checkpoints, in float16."""

import os
import re
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextModel

from models.starter.networks import POSITIONS

MOST_BYTES = 40_000_000

_UNET_FIXED = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_WORDS = (
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"attn_1\.group_norm", "attn_1.norm"),
    (r"attn_1\.to_([qkv])", r"attn_1.\1"),
    (r"attn_1\.to_out\.0", "attn_1.proj_out"),
    (r"down_blocks\.(\d)\.resnets", r"down.\1.block"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d)\.resnets", r"up.\1.block"),
    (r"up_blocks\.(\d)\.upsamplers\.0", r"up.\1.upsample"),
    (r"up\.(\d)", lambda match: f"up.{3 - int(match[1])}"),  # the file counts from the finest level
    ("conv_norm_out", "norm_out"),
    ("conv_shortcut", "nin_shortcut"),
)


def export(unet: UNet2DConditionModel, vae: AutoencoderKL, text: CLIPTextModel, path: Path) -> int:
    """Write the file, whole or not at all, and return its size in bytes."""
    tensors = {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(POSITIONS)[None]}
    for name, value in text.named_parameters():
        tensors["cond_stage_model.transformer.text_model." + name.removeprefix("text_model.")] = _half(value)
    for name, value in vae.named_parameters():
        square = "mid_block.attentions" in name and value.ndim == 2  # the file has 1×1 convolutions there
        tensors["first_stage_model." + _vae_name(name)] = _half(value[:, :, None, None] if square else value)
    places = unet_places(unet)
    for name, value in unet.named_parameters():
        tensors["model.diffusion_model." + unet_name(name, places)] = _half(value)
    return write(tensors, path, {"title": "starter", "format": "pt"}, MOST_BYTES)


def write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str], most: int) -> int:
    """Write a safetensors file whole or not at all; return its size in bytes, which may not exceed ``most``."""
    temporary = path.with_suffix(".partial")
    save_file(tensors, temporary, metadata=metadata)
    size = temporary.stat().st_size
    if size > most:
        raise ValueError(f"{path.name} would take {size:,} bytes, more than {most:,}")
    os.replace(temporary, path)
    return size


def _half(value: Tensor) -> Tensor:
    return value.detach().cpu().half().contiguous()


def _vae_name(name: str) -> str:
    for pattern, word in _VAE_WORDS:
        name = re.sub(pattern, word, name)
    return name


def unet_places(unet: nn.Module) -> dict[str, str]:
    """Return where each block of a UNet, or of the half that a ControlNet is, lies in the file.

    The file counts blocks in the order of the data.
    """
    places = dict(_UNET_FIXED)
    for half, down in (("down_blocks", True), ("up_blocks", False)):
        number, side = (1, "input_blocks") if down else (0, "output_blocks")
        for level, block in enumerate(unet.get_submodule(half).children() if hasattr(unet, half) else ()):
            attention = hasattr(block, "attentions")
            for i in range(len(block.get_submodule("resnets")._modules)):
                places[f"{half}.{level}.resnets.{i}"] = f"{side}.{number}.0"
                places[f"{half}.{level}.attentions.{i}"] = f"{side}.{number}.1"
                number += 1
            if down:
                places[f"{half}.{level}.downsamplers.0.conv"] = f"{side}.{number}.0.op"
                number += 1
            else:
                places[f"{half}.{level}.upsamplers.0.conv"] = f"{side}.{number - 1}.{1 + attention}.conv"
    return places


def unet_name(name: str, places: dict[str, str]) -> str:
    """Return the file's name for a parameter of a UNet."""
    place = name
    while place not in places:
        place = place.rpartition(".")[0]
    layer, _, kind = name.removeprefix(place + ".").partition(".")
    parts = [places[place], _UNET_RESNET.get(layer, layer) if "resnets" in place else layer, kind]
    return ".".join(part for part in parts if part)
