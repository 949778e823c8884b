"""Loads the checkpoint that a LoRA and a ControlNet are trained for. Knows neither."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel

from engine.checkpoint import load_checkpoint


@dataclass(frozen=True, kw_only=True)
class Base:
    """A trained checkpoint's networks, in float32 and frozen."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: CLIPTextModel

    def painters(self, unet: nn.Module | None = None) -> nn.ModuleDict:
        """Return what ``train_unet.sample`` needs, with ``unet`` in place of the checkpoint's own if it is given."""
        return nn.ModuleDict({"unet": unet or self.unet, "text": self.text})


def load_base(checkpoint: Path, device: torch.device) -> Base:
    """Load the networks of a checkpoint; raises what ``load_checkpoint`` raises."""
    loaded = load_checkpoint(checkpoint, device=device, dtype=torch.float32)
    return Base(unet=loaded.unet, vae=loaded.vae, text=loaded.text_encoder)
