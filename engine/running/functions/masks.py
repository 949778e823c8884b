"""Carries out the nodes for masks: float32 (B, h, w), 0 … 1, on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from engine.device.transfer import Errand, Fetch
from engine.pictures import masks as operations
from engine.pictures.blurring import blurred
from engine.pictures.filters import GREY
from engine.pictures.scaling import bicubic_of_bytes
from engine.running.functions.registry import Bench, Course, PictureBatch, Until, carries_out
from engine.workflow import masks as nodes
from engine.workflow.picture_sizes import BLANK_SIDE, part_of
from engine.workflow.sizes import PictureSize


@carries_out(nodes.LoadTransparency)
def load_transparency(node: nodes.LoadTransparency, bench: Bench) -> Tensor:
    picture = bench.inputs[node.name]
    if not picture.size.alpha or picture.alpha is None:
        return torch.zeros(picture.size.pictures, BLANK_SIDE, BLANK_SIDE, device=bench.device)
    return 1 - torch.from_numpy(picture.alpha).to(bench.device) / 255


@carries_out(nodes.LoadMask)
def load_mask(node: nodes.LoadMask, bench: Bench) -> Tensor:
    picture = bench.inputs[node.name]
    if node.channel != "alpha":
        channel = ("red", "green", "blue").index(node.channel)
        return torch.from_numpy(picture.pixels[:1, ..., channel].copy()).to(bench.device) / 255
    if picture.alpha is None:
        return torch.zeros(1, *picture.pixels.shape[1:3], device=bench.device)
    return 1 - torch.from_numpy(picture.alpha[:1]).to(bench.device) / 255


@carries_out(nodes.ChannelMask)
def channel(node: nodes.ChannelMask, bench: Bench) -> Tensor:
    pictures: PictureBatch = bench[node.pictures]
    return pictures.pixels[..., ("red", "green", "blue", "alpha").index(node.channel)]


@carries_out(nodes.BrightnessMask)
def brightness(node: nodes.BrightnessMask, bench: Bench) -> Tensor:
    pixels: Tensor = bench[node.pictures].pixels
    weights = torch.tensor(GREY, device=bench.device)
    return ((pixels[..., :3].clamp(0, 1) * 255).round() @ weights).round() / 255


@carries_out(nodes.TransparencyMask)
def transparency(node: nodes.TransparencyMask, bench: Bench) -> Tensor:
    pixels: Tensor = bench[node.pictures].pixels
    return 1 - pixels[..., 3] if pixels.shape[3] > 3 else torch.zeros(pixels.shape[:3], device=bench.device)


@carries_out(nodes.ColourMask)
def colour(node: nodes.ColourMask, bench: Bench) -> Tensor:
    pixels: Tensor = bench[node.pictures].pixels
    wanted = torch.tensor([node.colour >> 16, node.colour >> 8 & 255, node.colour & 255], device=bench.device)
    found = (pixels[..., :3].clamp(0, 1) * 255).round().int()
    return (found == wanted).all(-1).float()


@carries_out(nodes.PaddingMask)
def padding(node: nodes.PaddingMask, bench: Bench) -> Tensor:
    _, height, width, _ = bench[node.pictures].pixels.shape
    sides = (node.left, node.top, node.right, node.bottom)
    return operations.padding(height, width, *sides, node.feathering).to(bench.device)


@carries_out(nodes.SolidMask)
def solid(node: nodes.SolidMask, bench: Bench) -> Tensor:
    return torch.full((1, node.height, node.width), node.value, device=bench.device)


@carries_out(nodes.InvertMask)
def invert(node: nodes.InvertMask, bench: Bench) -> Tensor:
    mask: Tensor = bench[node.mask]
    return 1 - mask


@carries_out(nodes.ResizeMask)
def resize(node: nodes.ResizeMask, bench: Bench) -> Course:
    """The device is not needed for bicubic: others use it meanwhile."""
    mask: Tensor = bench[node.mask]
    if node.method == "nearest":
        return interpolate(mask[:, None], size=(node.height, node.width))[:, 0]
    given = Fetch((mask.clamp(0, 1) * 255).round().to(torch.uint8))
    yield Until([given])
    errand = Errand(lambda: bicubic_of_bytes(given.value().numpy(), node.height, node.width))
    yield Until([errand])
    return torch.from_numpy(errand.value()).to(bench.device) / 255


@carries_out(nodes.CropMask)
def crop(node: nodes.CropMask, bench: Bench) -> Tensor:
    mask: Tensor = bench[node.mask]
    count, height, width = mask.shape
    top, left, bottom, right = part_of(node, PictureSize(pictures=count, height=height, width=width))
    return mask[:, top:bottom, left:right]


@carries_out(nodes.CombineMasks)
def combine(node: nodes.CombineMasks, bench: Bench) -> Tensor:
    return operations.combined(bench[node.below], bench[node.above], node.x, node.y, node.operation)


@carries_out(nodes.FeatherMask)
def feather(node: nodes.FeatherMask, bench: Bench) -> Tensor:
    return operations.feathered(bench[node.mask], node.left, node.top, node.right, node.bottom)


@carries_out(nodes.BlurMask)
def blur(node: nodes.BlurMask, bench: Bench) -> Course:
    """The device is not needed: others use it meanwhile."""
    given = Fetch((bench[node.mask].clamp(0, 1) * 255).round().to(torch.uint8))
    yield Until([given])
    errand = Errand(lambda: np.stack([blurred(mask, node.x, node.y) for mask in given.value().numpy()]))
    yield Until([errand])
    return torch.from_numpy(errand.value()).to(bench.device) / 255


@carries_out(nodes.GrowMask)
def grow(node: nodes.GrowMask, bench: Bench) -> Tensor:
    return operations.grown(bench[node.mask], node.expand, tapered=node.tapered_corners)


@carries_out(nodes.ThresholdMask)
def threshold(node: nodes.ThresholdMask, bench: Bench) -> Tensor:
    mask: Tensor = bench[node.mask]
    return (mask > node.value).float()
