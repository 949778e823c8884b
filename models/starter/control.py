"""Builds the starter's small ControlNet, and makes and reads its file. Knows no training.

Zhang et al. 2023 (arXiv 2302.05543) without attention, as small ControlNets for SDXL are: the residual blocks of the
UNet's encoder, which begin as copies, a network for the hint, and zero convolutions.
"""

from __future__ import annotations

import math
import re

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn

from models.starter.export import unet_name, unet_places

_OWN_NAMES = (
    (r"controlnet_cond_embedding\.conv_in", "input_hint_block.0"),
    (r"controlnet_cond_embedding\.blocks\.(\d)", lambda match: f"input_hint_block.{2 * int(match[1]) + 2}"),
    (r"controlnet_cond_embedding\.conv_out", "input_hint_block.14"),
    (r"controlnet_down_blocks\.(\d+)", r"zero_convs.\1.0"),
    (r"controlnet_mid_block", "middle_block_out.0"),
)
_GAIN = 1.84  # brings thin white lines through eight convolutions and SiLUs with a spread of about 0.7
_PREFIX = "control_model."
_EXACT = (_PREFIX + "zero_convs", _PREFIX + "middle_block_out")  # their rounding errors would go right into the UNet


class Controlled(nn.Module):
    """A UNet with a ControlNet whose hint is ``hint``: (B, 3, H, W) in [0, 1] for latents (B·n, 4, H/8, W/8)."""

    def __init__(self, unet: UNet2DConditionModel, control: ControlNetModel) -> None:
        super().__init__()
        self.unet, self.control = unet, control
        self.hint = torch.zeros(0)

    def forward(self, x: Tensor, t: Tensor, conditioning: Tensor) -> object:
        """Return what the UNet returns: its ``sample`` is the predicted noise."""
        hint = self.hint.repeat(len(x) // len(self.hint), 1, 1, 1)
        down, middle = self.control(x, t, conditioning, hint, return_dict=False)
        return self.unet(x, t, conditioning, down_block_additional_residuals=down, mid_block_additional_residual=middle)


def build_control(unet: UNet2DConditionModel) -> ControlNetModel:
    """Return a ControlNet that adds nothing yet; its residual blocks are copies of the UNet's.

    Only the convolutions that lead to the UNet are zero. The hint's network starts with weights that keep the strength
    of what passes through: with its last one zero too, as in the paper, a hint has no effect for hundreds of steps.
    """
    widths, blocks = unet.config.block_out_channels, len(unet.down_blocks[0].resnets)
    control = ControlNetModel(
        block_out_channels=widths,
        layers_per_block=blocks,
        down_block_types=("DownBlock2D",) * len(widths),
        mid_block_type="UNetMidBlock2D",
        cross_attention_dim=unet.config.cross_attention_dim,
    )
    known = unet.state_dict()
    control.load_state_dict({name: known[name] for name in control.state_dict() if name in known}, strict=False)
    for layer in control.controlnet_cond_embedding.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=_GAIN / math.sqrt(layer.weight[0].numel()))
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return control.requires_grad_(True)


def tensors(control: ControlNetModel) -> dict[str, Tensor]:
    """Return the file's tensors, ``stored`` small, by the names that the first ControlNets have."""
    values = dict(control.named_parameters())
    return {name: stored(name, values[parameter]) for parameter, name in _names(control).items()}


def load_control(unet: UNet2DConditionModel, file: dict[str, Tensor]) -> ControlNetModel:
    """Return the ControlNet for ``unet`` from a file's tensors; raises ``KeyError`` where one is missing."""
    control = build_control(unet).requires_grad_(False)
    for parameter, name in _names(control).items():
        control.get_parameter(parameter).copy_(file[name])
    return control


def stored(name: str, value: Tensor) -> Tensor:
    """Return a tensor as it is stored: weights in float8 (e4m3), half of float16's size; delicate ones in float16."""
    exact = value.ndim == 1 or name.startswith(_EXACT)
    return value.detach().cpu().to(torch.float16 if exact else torch.float8_e4m3fn).contiguous()


def _names(control: ControlNetModel) -> dict[str, str]:
    """Return the file's name for each parameter."""
    places, names = unet_places(control), {}
    for parameter, _ in control.named_parameters():
        name = parameter
        for pattern, word in _OWN_NAMES:
            name = re.sub(pattern, word, name)
        names[parameter] = _PREFIX + (unet_name(name, places) if name == parameter else name)
    return names
