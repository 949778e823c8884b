"""Carries out the nodes for repainting."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from engine.batching.members import Conditioning, MaskedLatents
from engine.device.transfer import Errand, Fetch
from engine.pictures import scaling
from engine.pictures.decoder import SCALE
from engine.pictures.encoder import in_cells
from engine.pictures.masks import scaled_to
from engine.pictures.overlaying import filled, pasted_under
from engine.running.functions.registry import Bench, Course, LatentBatch, PictureBatch, Until, carries_out
from engine.running.model import Network
from engine.workflow import inpainting as nodes
from engine.workflow.editing import PastedUnder


@carries_out(nodes.DifferentialDiffusion)
def differential_diffusion(node: nodes.DifferentialDiffusion, bench: Bench) -> Network:
    network = bench.network(node.model)
    return dataclasses.replace(network, mask_thresholds=node.strength) if node.strength > 0 else network


@carries_out(nodes.ShownGrey)
def shown_grey(node: nodes.ShownGrey, bench: Bench) -> Network:
    return dataclasses.replace(bench.network(node.model), grey_by=bench.autoencoder(node.vae).encoder)


@carries_out(nodes.FittedMask)
def fitted_mask(node: nodes.FittedMask, bench: Bench) -> Tensor:
    pictures: PictureBatch = bench[node.pictures]
    return in_cells(scaled_to(bench[node.mask], *pictures.pixels.shape[1:3])[:, None])[:, 0]


@carries_out(nodes.FillHole)
def fill_hole(node: nodes.FillHole, bench: Bench) -> Course:
    """The device is not needed: others use it meanwhile."""
    pixels: Tensor = bench[node.pictures].pixels[..., :3]
    masks = scaling.repeated_to(scaled_to(bench[node.mask], *pixels.shape[1:3]), pixels.shape[0])
    given = [Fetch((each.clamp(0, 1) * 255).round().to(torch.uint8)) for each in (pixels, masks)]
    yield Until(given)
    pairs = list(zip(*(each.value().numpy() for each in given), strict=True))
    errand = Errand(lambda: np.stack([filled(picture, mask) for picture, mask in pairs]))
    yield Until([errand])
    return PictureBatch(torch.from_numpy(errand.value()).to(bench.device) / 255)


@carries_out(PastedUnder)
def paste_under(node: PastedUnder, bench: Bench) -> Course:
    """The device is not needed: others use it meanwhile."""
    pixels, original = (bench[each].pixels[..., :3] for each in (node.pictures, node.original))
    count = pixels.shape[0]
    masks = scaled_to(bench[node.mask], *original.shape[1:3])
    originals, masks = (scaling.repeated_to(each, count) for each in (original, masks))
    colours = (Fetch(scaling.to_bytes(each.movedim(-1, 1))) for each in (pixels, originals))
    given = [*colours, Fetch((masks.clamp(0, 1) * 255).round().to(torch.uint8))]
    yield Until(given)
    layers = list(zip(*(each.value().numpy() for each in given), strict=True))
    errand = Errand(lambda: np.stack([pasted_under(one, over, mask, node.x, node.y) for one, over, mask in layers]))
    yield Until([errand])
    return PictureBatch(torch.from_numpy(errand.value()).to(bench.device) / 255)


@carries_out(nodes.WithMaskedPicture)
def with_masked_picture(node: nodes.WithMaskedPicture, bench: Bench) -> Conditioning:
    latents: LatentBatch = bench[node.latents]
    masked = MaskedLatents(latents=latents.samples * SCALE, mask=bench[node.mask], rounded=node.rounded)
    return tuple(dataclasses.replace(member, masked=masked) for member in bench[node.conditioning])
