"""Makes a new autoencoder start as what it resembles: an 8-fold box filter one way, a smooth interpolation back.

Colours travel in the residual stream, whose branches start at zero; what is left to learn is the edges. GroupNorm
stands in the way twice, since it removes the mean of a group. A group whose channels hold signals that add up to
nothing, beside two large constants of opposite sign, lets them pass as they are; so do two opposite SiLUs.
"""

import math
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from models.starter.latents import colour_matrix

ANCHOR = 8.0  # the large constant


@torch.no_grad()
def start_as_resampler(vae: AutoencoderKL, scale: float, log_variance: float) -> None:
    """Set the weights so that ``scale`` times the file's latents are those that ``latents`` defines."""
    _still_branches(vae)
    _encoder(vae.encoder)
    _decoder(vae.decoder)
    for layer, factor in ((vae.quant_conv, 1 / scale), (vae.post_quant_conv, scale)):
        _zero(layer)
        layer.weight[:4, :4, 0, 0] = factor * torch.eye(4)
    vae.quant_conv.bias[4:] = log_variance


def _still_branches(vae: nn.Module) -> None:
    for name, module in vae.named_modules():
        if name.endswith(("conv2", "to_out.0")):
            _zero(module)
        if name.endswith("conv_shortcut"):
            _pass(module, torch.eye(3))


def _encoder(encoder: Any) -> None:
    matrix, offset = colour_matrix()  # latents = matrix · (2·rgb − 1) + offset, for the three colour channels
    _pass(encoder.conv_in, torch.eye(3))
    for block in encoder.down_blocks[:-1]:
        _pass(block.downsamplers[0].conv, torch.eye(3), torch.tensor([0.5, 0.5, 0.0]))
    width = encoder.conv_norm_out.num_channels
    size = width // 32
    entry = encoder.down_blocks[-1].resnets[0].conv_shortcut
    _groups(entry, encoder.conv_norm_out, size)
    _zero(encoder.conv_out)
    for i in range(3):
        encoder.conv_out.weight[:3, size * i, 1, 1] = matrix[:, i]
        encoder.conv_out.weight[:3, size * (i + 3), 1, 1] = -matrix[:, i]
    encoder.conv_out.bias[:3] = offset


def _decoder(decoder: Any) -> None:
    matrix, offset = colour_matrix()
    inverse = torch.linalg.inv(matrix)
    _pass(decoder.conv_in, torch.cat([inverse, torch.zeros(3, 1)], dim=1))
    decoder.conv_in.bias[:3] = -inverse @ offset
    for block in decoder.up_blocks[:-1]:
        _pass(block.upsamplers[0].conv, torch.eye(3), torch.tensor([0.25, 0.5, 0.25]))
    size = decoder.conv_norm_out.num_channels // 32
    _groups(decoder.up_blocks[-1].resnets[0].conv_shortcut, decoder.conv_norm_out, size)
    decoder.conv_out.weight.mul_(0.1)
    decoder.conv_out.bias.zero_()
    for i in range(3):
        decoder.conv_out.weight[:, [size * i, size * (i + 3)]] = 0
        decoder.conv_out.weight[i, size * i, 1, 1] = 1
        decoder.conv_out.weight[i, size * (i + 3), 1, 1] = -1


def _groups(entry: Any, norm: Any, size: int) -> None:
    """Make six groups of ``size`` ≥ 3 channels for red, green, blue and their opposites: (s, A − s/2, −A − s/2, 0
    …)."""
    entry.weight[: 6 * size] = 0
    entry.bias[: 6 * size] = 0
    for group in range(6):
        sign = 1.0 if group < 3 else -1.0
        first = size * group
        for channel, (share, constant) in enumerate(((1.0, 0.0), (-0.5, ANCHOR), (-0.5, -ANCHOR))):
            entry.weight[first + channel, group % 3, 0, 0] = sign * share
            entry.bias[first + channel] = constant
        norm.weight[first : first + size] = 0
        norm.weight[first] = ANCHOR * math.sqrt(2 / size)


def _pass(layer: Any, matrix: Tensor, taps: Tensor | None = None) -> None:
    """Let the first channels through as ``matrix`` says, under a separable kernel; the others stay as drawn."""
    rows, columns = matrix.shape
    if taps is None:
        taps = torch.zeros(layer.kernel_size[0])
        taps[len(taps) // 2] = 1
    layer.weight[:rows] = 0
    layer.weight[:rows, :columns] = matrix[:, :, None, None] * torch.outer(taps, taps)
    layer.bias[:rows] = 0


def _zero(layer: Any) -> None:
    for parameter in layer.parameters():
        parameter.zero_()
