"""Carries out the node that enlarges pictures with a network."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.networks.upscaler import Upscaler
from engine.pictures.tiling import Tiles, tiled
from engine.running.functions.registry import Bench, Course, PictureBatch, carries_out, in_slices
from engine.workflow.upscaling import Upscale

TILES, SMALL_TILES = (Tiles(height=side, width=side, overlap=32) for side in (512, 128))
"""The second ones are for want of memory."""


@carries_out(Upscale)
def upscale(node: Upscale, bench: Bench) -> Course:
    """The enlarged pictures, one after another. Others use the device between the network's blocks."""
    pixels: Tensor = bench[node.pictures].pixels
    upscaler: Upscaler = bench[node.upscaler]
    tiles, made = SMALL_TILES if node in bench.tiled else TILES, []
    for one in pixels.split(1):
        work = tiled(upscaler, one.movedim(-1, 1), tiles, upscaler.factor)
        larger: Tensor = yield from in_slices(work)
        made.append(larger.clamp(0, 1).movedim(1, -1))
    return PictureBatch(torch.cat(made))
