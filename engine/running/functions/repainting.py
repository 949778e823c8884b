"""Carries out the nodes for repainting."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from engine.batching.members import Conditioning, MaskedLatents
from engine.pictures.decoder import SCALE
from engine.pictures.encoder import in_cells
from engine.pictures.masks import scaled_to
from engine.running.functions.registry import Bench, LatentBatch, PictureBatch, carries_out
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


@carries_out(nodes.WithMaskedPicture)
def with_masked_picture(node: nodes.WithMaskedPicture, bench: Bench) -> Conditioning:
    latents: LatentBatch = bench[node.latents]
    masked = MaskedLatents(latents=latents.samples * SCALE, mask=bench[node.mask])
    return tuple(dataclasses.replace(member, masked=masked) for member in bench[node.conditioning])
