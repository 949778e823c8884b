"""Carries out the nodes for repainting."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from engine.batching.members import Conditioning, MaskedLatents
from engine.pictures.blurring import filled
from engine.pictures.decoder import SCALE
from engine.pictures.encoder import in_cells
from engine.pictures.masks import scaled_to
from engine.pictures.scaling import repeated_to
from engine.running.functions.registry import Bench, Course, LatentBatch, Pause, PictureBatch, carries_out
from engine.running.model import Network
from engine.workflow import inpainting as nodes


@carries_out(nodes.DifferentialDiffusion)
def differential_diffusion(node: nodes.DifferentialDiffusion, bench: Bench) -> Network:
    network = bench.network(node.model)
    return dataclasses.replace(network, mask_thresholds=node.strength) if node.strength > 0 else network


@carries_out(nodes.FittedMask)
def fitted_mask(node: nodes.FittedMask, bench: Bench) -> Tensor:
    pictures: PictureBatch = bench[node.pictures]
    return in_cells(scaled_to(bench[node.mask], *pictures.pixels.shape[1:3])[:, None])[:, 0]


@carries_out(nodes.FillHole)
def fill_hole(node: nodes.FillHole, bench: Bench) -> Course:
    pixels: Tensor = bench[node.pictures].pixels[..., :3]
    masks = repeated_to(scaled_to(bench[node.mask], *pixels.shape[1:3]), pixels.shape[0])
    made: list[Tensor] = []
    for picture, mask in zip(_eight_bits(pixels), _eight_bits(masks), strict=True):
        if made:
            yield Pause()
        made.append(torch.from_numpy(filled(picture, mask)))
    return PictureBatch(torch.stack(made).to(bench.device) / 255)


def _eight_bits(values: Tensor) -> Any:
    """As NumPy arrays of bytes."""
    return (values.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


@carries_out(nodes.WithMaskedPicture)
def with_masked_picture(node: nodes.WithMaskedPicture, bench: Bench) -> Conditioning:
    latents: LatentBatch = bench[node.latents]
    masked = MaskedLatents(latents=latents.samples * SCALE, mask=bench[node.mask])
    return tuple(dataclasses.replace(member, masked=masked) for member in bench[node.conditioning])
