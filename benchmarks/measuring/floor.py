"""Counts the operations of a picture and computes how fast a machine could make it at best.

Torch counts the operations of UNet and VAE on networks without weights; a formula gives the text encoder's. One
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
    """Operations of the parts of one picture, and the number of weights that a step reads."""

    step: int
    """One UNet call of two rows: with and without the prompt."""
    decode: int
    encode: int
    """The text encoder on prompt and negative prompt, 77 tokens each."""
    unet_parameters: int

    def picture(self, steps: float) -> float:
        """Return the operations of a picture of ``steps`` steps."""
        return self.step * steps + self.decode + self.encode


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """The best rates that were measured on a machine, or that its data sheet gives."""

    matmul: float
    """Operations a second of a large matrix product in one dtype."""
    bandwidth: float
    """Bytes a second that a large copy on the device moves, read and written together."""


def count_work(checkpoint: Path, size: int) -> Work:
    """Count the work of a ``size`` × ``size`` picture with the networks of ``checkpoint``, without reading weights."""
    weights = open_weights(checkpoint, values=False)
    contents: Contents = read_contents(weights.shapes, weights.dtypes)
    cells = size // PIXELS_PER_CELL
    latents = torch.empty(2, 4, cells, cells, device="meta")
    context = torch.empty(2, _TOKENS, contents.unet.context, device="meta")
    unet, vae, _ = (blueprint.module for blueprint in contents.blueprints)
    return Work(
        step=_operations(unet, latents, torch.empty(2, device="meta"), context),
        decode=_operations(vae.get_submodule("post_quant_conv"), latents[:1])
        + _operations(vae.get_submodule("decoder"), latents[:1]),
        encode=_text_encoder(contents.facts.context_width, contents.facts.text_layers),
        unet_parameters=sum(parameter.numel() for parameter in unet.parameters()),
    )


def _text_encoder(width: int, layers: int) -> int:
    """Count operations on prompt and negative prompt: four projections, an MLP four times as wide, and attention."""
    per_token = 12 * width**2 + 2 * _TOKENS * width  # multiply-adds in a layer
    return 2 * (2 * _TOKENS) * layers * per_token


def _operations(module: nn.Module, *inputs: Any) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(*inputs)
    return int(counter.get_total_flops())


def floor_seconds(work: Work, ceilings: Ceilings, steps: float, itemsize: int) -> float:
    """Return the least seconds of one picture alone, where each step computes or reads weights, whichever is longer."""
    step = max(work.step / ceilings.matmul, work.unet_parameters * itemsize / ceilings.bandwidth)
    return steps * step + (work.decode + work.encode) / ceilings.matmul


def floor_rate(work: Work, ceilings: Ceilings, steps: float) -> float:
    """Return the most pictures a second, however many are computed together: only matrix products count."""
    return ceilings.matmul / work.picture(steps)
