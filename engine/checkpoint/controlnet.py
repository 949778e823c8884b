"""The shapes of a file's tensors → its ControlNet or T2I-adapter, without weights; and such a file, loaded.

Knows the names that people's files have: the single file's with and without ``control_model.``, diffusers', and those
of T2I-adapters. Knows nothing of pictures and sampling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import nn

from engine.checkpoint.adapter import read_adapter
from engine.checkpoint.contents import check_blueprints
from engine.checkpoint.copying import by_pieces, copied
from engine.checkpoint.filling import fill, parameters_of
from engine.checkpoint.layout import GROUPS, UNET, UNET_HEADS, UNET_RESNET, Level, unet_levels, unet_places
from engine.checkpoint.shapes import Blueprint, LayoutError, Shapes, built, count, file_names, has, outputs, vote
from engine.checkpoint.structure import Structure
from engine.checkpoint.values import Values
from engine.checkpoint.weights import Weights, open_weights
from engine.errors import BrokenCheckpoint
from engine.tensors.kinds import content_by_shapes
from engine.tensors.pickles import shown

_PREFIX = "control_model."
_PICTURE = "controlnet_cond_embedding."
_DIFFERENCE = "difference"
"""The name of a tensor that shows that the others are to be added to those of a UNet."""
_CONTEXT = 768
_OTHERS = (
    (("label_emb.", "add_embedding."), "it is a ControlNet for Stable Diffusion XL"),
    (("lora_controlnet",), "it is a Control-LoRA, which is not a whole ControlNet"),
    (("transformer_blocks.0.", "controlnet_x_embedder.", "double_blocks."), "it is a ControlNet for another model"),
)
"""What begins or is the name of a tensor, and what the file is then."""


@dataclass(frozen=True, kw_only=True)
class ControlContents:
    """What the header of a ControlNet's or T2I-adapter's file tells."""

    blueprint: Blueprint
    adapter: bool
    """Whether it is a T2I-adapter."""
    difference: bool
    """Whether it holds what is to be added to a model's weights."""

    @property
    def parameters(self) -> int:
        """How many values its network has."""
        return parameters_of(self.blueprint)


def inspect_control(path: Path) -> ControlContents:
    """Return what the header of the file in ``path`` tells; no weights are read.

    Raises ``UnknownCheckpoint`` if there is no such file, and ``BrokenCheckpoint`` if it is no ControlNet or
    T2I-adapter for Stable Diffusion 1.x.
    """
    weights = open_weights(path, values=False)
    return _control(path, weights.shapes, weights.dtypes)


@dataclass(frozen=True, kw_only=True)
class Base:
    """The UNet that the values in a file of differences are added to."""

    values: Values
    structure: Structure


def load_control(path: Path, *, device: torch.device, dtype: torch.dtype, base: Base | None = None) -> ControlContents:
    """Return what is in the file in ``path``, its network with weights of ``dtype`` on ``device``.

    Raises what ``inspect_control`` raises, ``BrokenCheckpoint`` for values that are not finite and for differences
    without the ``base`` that they fit, and ``OutOfMemory``.
    """
    weights = open_weights(path)
    control = _control(path, weights.shapes, weights.dtypes)
    if control.difference:
        if base is None:
            raise BrokenCheckpoint(
                path, "it holds differences from a model's weights: load it with DiffControlNetLoader"
            )
        weights = _added(path, weights, control.blueprint, base)
    fill(path, weights, [control.blueprint], device, dtype)
    return control


def _added(path: Path, weights: Weights, blueprint: Blueprint, base: Base) -> Weights:
    """``weights`` with the base's added where it has the same parameter, in the file's precision as ComfyUI does."""
    shapes, common = base.structure.shapes, {}
    for name, parameter in blueprint.module.named_parameters():  # a ControlNet's blocks have the names of a UNet's
        if name in shapes:
            common[blueprint.names[name]] = name
            if shapes[name] != tuple(parameter.shape):
                what = f"{name} has shape {tuple(parameter.shape)}, the model's {shapes[name]}"
                raise BrokenCheckpoint(path, f"it holds differences from another model's weights: {what}")

    def take(name: str) -> torch.Tensor:
        stored = weights.take(name)
        if name not in common:
            return stored
        value, _ = copied(base.values.value(common[name]).cpu(), torch.device("cpu"), stored.dtype)
        by_pieces(torch.Tensor.add_, value, stored)
        return value

    return dataclasses.replace(weights, take=take)


def _control(path: Path, shapes: Shapes, dtypes: Mapping[str, str]) -> ControlContents:
    try:
        content = content_by_shapes(shapes)
        if content.kind != "controlnet":
            words = (
                f"it is {content.words} (found {shown(content.mark)})" if content.words else "its tensors are unknown"
            )
            raise LayoutError(f"{words}, not a ControlNet or T2I-adapter")
        adapter = "adapter" in content.words
        blueprint = read_adapter(shapes) if adapter else read_controlnet(shapes)
        check_blueprints([blueprint], shapes, dtypes)
        return ControlContents(blueprint=blueprint, adapter=adapter, difference=_DIFFERENCE in shapes)
    except LayoutError as error:
        raise BrokenCheckpoint(path, str(error)) from None


def read_controlnet(shapes: Shapes) -> Blueprint:
    """Return the ControlNet that tensors of these shapes make. Raises ``LayoutError``."""
    for marks, what in _OTHERS:
        mark = next((name for name in shapes if name.removeprefix(_PREFIX).startswith(marks)), None)
        if mark is not None:
            raise LayoutError(f"{what} (found {shown(mark)})")
    if has(shapes, _PICTURE):
        return _diffusers(shapes)
    prefix = _PREFIX if has(shapes, _PREFIX) else ""
    # its blocks have the names of a UNet's
    blocks = {UNET + name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}
    levels = unet_levels(blocks)
    module = _module(blocks, levels, UNET, f"{UNET}input_hint_block.0.weight")
    places = unet_places(levels) | {"controlnet_mid_block": "middle_block_out.0"}
    places |= {f"controlnet_down_blocks.{i}": f"zero_convs.{i}.0" for i in range(len(module.controlnet_down_blocks))}
    layers = ["conv_in", *(f"blocks.{i}" for i in range(len(module.controlnet_cond_embedding.blocks))), "conv_out"]
    places |= {f"{_PICTURE}{layer}": f"input_hint_block.{2 * i}" for i, layer in enumerate(layers)}
    names = file_names(module, prefix, places, UNET_RESNET)
    return _blueprint(module, names, levels, prefix)


def _diffusers(shapes: Shapes) -> Blueprint:
    levels = []
    for i in range(count(shapes, "down_blocks.")):
        block = f"down_blocks.{i}."
        blocks = count(shapes, f"{block}resnets.")
        width = vote(shapes, f"the width of level {i}", outputs(block, *(f"resnets.{k}.conv1" for k in range(blocks))))
        attention = count(shapes, f"{block}attentions.0.transformer_blocks.")
        levels.append(Level(width=width, blocks=blocks, attention=attention))
    module = _module(shapes, levels, "", f"{_PICTURE}conv_in.weight")
    return _blueprint(module, {name: name for name, _ in module.named_parameters()}, levels, "")


def _module(shapes: Shapes, levels: list[Level], prefix: str, picture: str) -> ControlNetModel:
    keys = [name for name in shapes if name.startswith(prefix) and name.endswith("attn2.to_k.weight")]
    context = vote(shapes, "the width of the ControlNet's context", [(name, 1) for name in keys]) if keys else _CONTEXT
    if context == 1024:
        raise LayoutError(
            f"it is a ControlNet for Stable Diffusion 2: its context is 1024 wide, that of 1.x {_CONTEXT}"
        )
    if not levels or len({level.blocks for level in levels}) > 1:
        raise LayoutError(f"the levels of the ControlNet have {[level.blocks for level in levels]} residual blocks")
    module = built(
        "ControlNet",
        ControlNetModel,
        conditioning_channels=vote(shapes, "the number of the picture's channels", [(picture, 1)]),
        block_out_channels=tuple(level.width for level in levels),
        layers_per_block=levels[0].blocks,
        down_block_types=tuple("CrossAttnDownBlock2D" if level.attention else "DownBlock2D" for level in levels),
        mid_block_type="UNetMidBlock2DCrossAttn" if keys else "UNetMidBlock2D",  # small ones have no attention at all
        transformer_layers_per_block=tuple(max(1, level.attention) for level in levels),
        attention_head_dim=UNET_HEADS,  # the number of heads, whatever diffusers calls it
        cross_attention_dim=context,
        norm_num_groups=GROUPS,
    )
    assert isinstance(module, ControlNetModel)
    if module.config.conditioning_channels != 3:
        raise LayoutError(f"it takes pictures of {module.config.conditioning_channels} channels, ordinary ones take 3")
    return module


def _blueprint(module: nn.Module, names: dict[str, str], levels: list[Level], prefix: str) -> Blueprint:
    config: Any = module.config
    owns = (prefix,) if prefix else ("input_blocks.", "middle_block.", "zero_convs.", "down_blocks.", "mid_block.")
    widths = tuple(level.width for level in levels)
    attends = any(level.attention for level in levels) or config.mid_block_type != "UNetMidBlock2D"
    context = config.cross_attention_dim if attends else 0
    return Blueprint(module=module, names=names, owns=owns, widths=widths, context=context)
