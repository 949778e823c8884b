"""Adapter files for tests, for the tiny checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
"""A layer of the tiny checkpoint's UNet, (32, 32), as diffusers calls it."""

TEXT_LAYER = "text_model_encoder_layers_0_mlp_fc1"
"""A layer of its text encoder, (256, 64), as kohya calls it."""


def low_rank(
    name: str, outputs: int, inputs: int, *, rank: int = 2, seed: int = 0, scale: float = 0.3
) -> dict[str, Tensor]:
    """The two factors of a layer's change, with kohya's names."""
    draw = torch.Generator().manual_seed(seed)
    return {
        f"{name}.lora_up.weight": torch.randn(outputs, rank, generator=draw) * scale,
        f"{name}.lora_down.weight": torch.randn(rank, inputs, generator=draw) * scale,
    }


def write_adapter(path: Path, *, seed: int = 0, text: bool = True) -> Path:
    """A LoRA that changes one layer of the UNet, and one of the text encoder."""
    tensors = low_rank("lora_unet_" + QUERY.replace(".", "_"), 32, 32, seed=seed)
    if text:
        tensors |= low_rank("lora_te_" + TEXT_LAYER, 256, 64, seed=seed + 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path
