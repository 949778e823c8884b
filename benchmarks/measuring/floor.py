"""How much work a picture is, and how fast the machine could do it at best.

Operations of UNet and VAE are counted by torch on networks without weights, the text encoder's by formula; one
multiply-add is two operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from engine.checkpoint.contents import Contents, read_contents
from engine.checkpoint.weights import open_weights
from engine.pictures.decoder import PIXELS_PER_CELL

_TOKENS = 77


@dataclass(frozen=True, kw_only=True)
class Work:
    """Operations of one picture's parts, and the bytes of weights that a step reads."""

    step: int
    """One UNet call of two rows: with and without the prompt."""
    decode: int
    encode: int
    """The text encoder on prompt and negative prompt, 77 tokens each."""
    unet_parameters: int

    def picture(self, steps: float) -> float:
        """Operations of a picture of so many steps."""
        return self.step * steps + self.decode + self.encode


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """What the machine was seen to do at best."""

    matmul: float
    """Operations a second of a large matrix product in the dtype at hand."""
    bandwidth: float
    """Bytes a second that a large copy on the device moves, read and written together."""


def count_work(checkpoint: Path, size: int) -> Work:
    """The work of a ``size`` × ``size`` picture with the networks in ``checkpoint``; no weights are read."""
    weights = open_weights(checkpoint, values=False)
    contents: Contents = read_contents(weights.shapes, weights.dtypes)
    cells = size // PIXELS_PER_CELL
    latents = torch.empty(2, 4, cells, cells, device="meta")
    context = torch.empty(2, _TOKENS, contents.unet.context, device="meta")
    unet, vae = contents.unet.module, contents.vae.module
    return Work(
        step=_operations(unet, latents, torch.empty(2, device="meta"), context),
        decode=_operations(vae.get_submodule("post_quant_conv"), latents[:1])
        + _operations(vae.get_submodule("decoder"), latents[:1]),
        encode=_text_encoder(contents.facts.context_width, contents.facts.text_layers),
        unet_parameters=sum(parameter.numel() for parameter in unet.parameters()),
    )


def _text_encoder(width: int, layers: int) -> int:
    """On prompt and negative prompt: queries, keys, values and outputs, an MLP four times as wide, and attention."""
    per_token = 12 * width**2 + 2 * _TOKENS * width  # multiply-adds in a layer
    return 2 * (2 * _TOKENS) * layers * per_token


def _operations(module: nn.Module, *inputs: Any) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(*inputs)
    return int(counter.get_total_flops())


def floor_seconds(work: Work, ceilings: Ceilings, steps: float, itemsize: int) -> float:
    """The least time for one picture alone: each step either computes or waits for its weights, whichever is longer."""
    step = max(work.step / ceilings.matmul, work.unet_parameters * itemsize / ceilings.bandwidth)
    return steps * step + (work.decode + work.encode) / ceilings.matmul


def floor_rate(work: Work, ceilings: Ceilings, steps: float) -> float:
    """The most pictures a second, however many are computed together: nothing but the matrix products counts."""
    return ceilings.matmul / work.picture(steps)
