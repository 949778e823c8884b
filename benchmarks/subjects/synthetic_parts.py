"""Makes what goes with a checkpoint: a LoRA and a ControlNet that fit it, with random weights, and pictures.

Their sizes are those that people's files have; speed does not depend on what the weights say.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image

from benchmarks.measuring.features import CONTROLNET, LARGE, LORA, MASK, PICTURE, UPSCALER
from benchmarks.subjects.synthetic_checkpoint import CACHE, Entry, random_file
from engine.checkpoint.contents import read_contents
from engine.checkpoint.structure import structures_of
from engine.checkpoint.weights import open_weights

_RANK = 32
_SHARE = 0.05
"""The size of what the LoRA adds to a weight, over that of the weight, about."""

_FEATURES, _GROWTH = 64, 32
"""Channels of the upscaler, and what each layer of its blocks adds to them."""

_LARGEST = 2048

_ADAPTED = (".to_q", ".to_k", ".to_v", ".to_out.0", ".ff.net.0.proj", ".ff.net.2", ".proj_in", ".proj_out")
"""The UNet's layers that trainers adapt unless they are asked for others."""

_ADAPTED_TEXT = (".q_proj", ".k_proj", ".v_proj", ".out_proj", ".fc1", ".fc2")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A folder with a LoRA and a ControlNet that fit one checkpoint, an upscaler and pictures."""

    folder: Path

    @property
    def lora(self) -> Path:
        """The LoRA's file, in kohya's format."""
        return self.folder / LORA

    @property
    def controlnet(self) -> Path:
        """The ControlNet's file, in diffusers' format."""
        return self.folder / CONTROLNET


def synthetic_parts(checkpoint: Path, size: int, cache: Path = CACHE) -> Parts:
    """Return the parts that fit ``checkpoint``, with pictures of ``size`` pixels; they are written if they are missing.

    In full size they take 0.8 GB.
    """
    shapes = {kind: sorted(each.shapes.items()) for kind, each in structures_of(checkpoint).items()}
    parts = Parts(folder=cache / f"parts-{hashlib.sha256(repr(shapes).encode()).hexdigest()[:12]}-{size}")
    parts.folder.mkdir(parents=True, exist_ok=True)
    if not parts.lora.exists():
        _write_lora(parts.lora, checkpoint)
    if not parts.controlnet.exists():
        random_file(parts.controlnet, _controlnet(checkpoint))
    if not (parts.folder / UPSCALER).exists():
        random_file(parts.folder / UPSCALER, _upscaler())
    _write_pictures(parts.folder, size)
    return parts


def _write_lora(path: Path, checkpoint: Path) -> None:
    layers = dict(_adapted(checkpoint))
    alphas = {f"{layer}.alpha": torch.tensor(_SHARE * _RANK, dtype=torch.float16) for layer in layers}
    random_file(path, _pairs(layers), alphas)


def _adapted(checkpoint: Path) -> Iterator[Entry]:
    """Give each adapted layer's name in kohya's format, and the shape of its weight."""
    structures = structures_of(checkpoint)
    unet = [
        (name, shape)
        for name, shape in structures["unet"].shapes.items()
        if "attentions" in name and "norm" not in name
    ]
    for name, shape in unet:
        if name.removesuffix(".weight").endswith(_ADAPTED):
            yield "lora_unet_" + name.removesuffix(".weight").replace(".", "_"), shape
    for name, shape in structures["text_encoder"].shapes.items():
        if name.removesuffix(".weight").endswith(_ADAPTED_TEXT):
            layer = name.removesuffix(".weight").removeprefix("text_model.")
            yield "lora_te_text_model_" + layer.replace(".", "_"), shape


def _pairs(layers: dict[str, tuple[int, ...]]) -> Iterator[Entry]:
    for layer, (outputs, inputs, *kernel) in layers.items():
        yield f"{layer}.lora_down.weight", (_RANK, inputs, *kernel)
        yield f"{layer}.lora_up.weight", (outputs, _RANK, *kernel)


def _controlnet(checkpoint: Path) -> Iterator[Entry]:
    weights = open_weights(checkpoint, values=False)
    unet = read_contents(weights.shapes, weights.dtypes).unet.module
    assert isinstance(unet, UNet2DConditionModel)
    config: Any = unet.config
    with torch.device("meta"):
        network = ControlNetModel(
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block[0],
            down_block_types=config.down_block_types,
            cross_attention_dim=config.cross_attention_dim,
            attention_head_dim=config.attention_head_dim,
        )
    for name, parameter in network.named_parameters():
        yield name, tuple(parameter.shape)


def _upscaler() -> Iterator[Entry]:
    """Give the tensors of an ESRGAN generator that enlarges fourfold, as small as those in use for drawings."""
    convolutions = [("conv_first", 3, _FEATURES), ("conv_body", _FEATURES, _FEATURES), ("conv_last", _FEATURES, 3)]
    convolutions += [(name, _FEATURES, _FEATURES) for name in ("conv_up1", "conv_up2", "conv_hr")]
    for block, part, layer in itertools.product(range(6), (1, 2, 3), range(5)):
        outputs = _FEATURES if layer == 4 else _GROWTH
        convolutions.append((f"body.{block}.rdb{part}.conv{layer + 1}", _FEATURES + layer * _GROWTH, outputs))
    for name, inputs, outputs in convolutions:
        yield f"{name}.weight", (outputs, inputs, 3, 3)
        yield f"{name}.bias", (outputs,)


def _write_pictures(folder: Path, size: int) -> None:
    """Write a picture of soft colours, the same eight times as large, and a mask whose middle is bright."""
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    coarse.resize((size, size), Image.Resampling.BICUBIC).save(folder / PICTURE)
    larger = min(_LARGEST, 8 * size)
    coarse.resize((larger, larger), Image.Resampling.BICUBIC).save(folder / LARGE)
    mask = np.zeros((size, size, 3), np.uint8)
    mask[size // 4 : -size // 4, size // 4 : -size // 4] = 255
    Image.fromarray(mask).save(folder / MASK)
