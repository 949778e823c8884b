"""One VAE alone, in a file of its own → the autoencoder, ready to run. Knows single files' names and diffusers'."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from engine.checkpoint.contents import check_blueprints
from engine.checkpoint.filling import fill, parameters_of
from engine.checkpoint.layout import VAE, read_vae
from engine.checkpoint.shapes import Blueprint, LayoutError
from engine.checkpoint.weights import Weights, open_weights
from engine.errors import BrokenCheckpoint
from engine.tensors.kinds import content_by_shapes

_DIFFUSERS = (
    (r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.", r"encoder.down.\1.block.\2."),
    (r"encoder\.down_blocks\.(\d+)\.downsamplers\.0\.", r"encoder.down.\1.downsample."),
    (r"decoder\.up_blocks\.(\d+)\.resnets\.(\d+)\.", r"decoder.up_from_below.\1.block.\2."),
    (r"decoder\.up_blocks\.(\d+)\.upsamplers\.0\.", r"decoder.up_from_below.\1.upsample."),
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
    (r"mid_block\.attentions\.0\.(?:to_q|query)\.", "mid.attn_1.q."),
    (r"mid_block\.attentions\.0\.(?:to_k|key)\.", "mid.attn_1.k."),
    (r"mid_block\.attentions\.0\.(?:to_v|value)\.", "mid.attn_1.v."),
    (r"mid_block\.attentions\.0\.(?:to_out\.0|proj_attn)\.", "mid.attn_1.proj_out."),
    (r"conv_norm_out\.", "norm_out."),
    (r"conv_shortcut\.", "nin_shortcut."),
)
"""diffusers' names, old and new, and what a single file has in their place."""

_LEVELS = 4


def load_vae(path: Path, *, device: torch.device, dtype: torch.dtype) -> AutoencoderKL:
    """Load the VAE in ``path`` to ``device`` as ``dtype``. Raises ``BrokenCheckpoint`` and ``UnknownCheckpoint``."""
    weights = open_weights(path)
    blueprint = _blueprint(path, weights)
    fill(path, weights, [blueprint], device, dtype)
    module = blueprint.module
    assert isinstance(module, AutoencoderKL)
    return module


def vae_parameters(path: Path) -> tuple[int, tuple[int, ...]]:
    """Return the number of values of the VAE in ``path``, and the channels of its levels, from its header."""
    blueprint = _blueprint(path, open_weights(path, values=False))
    return parameters_of(blueprint), blueprint.widths


def _blueprint(path: Path, weights: Weights) -> Blueprint:
    own = {_single_file_name(name): name for name in weights.shapes}
    shapes = {name: weights.shapes[stored] for name, stored in own.items()}
    dtypes = {name: weights.dtypes[stored] for name, stored in own.items()}
    try:
        if not any(name.startswith(VAE + "encoder.") for name in shapes):
            content = content_by_shapes(weights.shapes)
            raise LayoutError(f"it is {content.words or 'something else'}, not a VAE")
        blueprint = read_vae(shapes)
        check_blueprints([blueprint], shapes, dtypes)
    except LayoutError as error:
        raise BrokenCheckpoint(path, str(error)) from None
    names = {parameter: own[name] for parameter, name in blueprint.names.items()}
    return dataclasses.replace(blueprint, names=names)


def _single_file_name(name: str) -> str:
    """The name that a checkpoint has for a VAE's tensor."""
    if name.startswith(VAE):
        return name
    for pattern, place in _DIFFUSERS:
        name = re.sub(pattern, place, name, count=1)
    return VAE + re.sub(r"^decoder\.up_from_below\.(\d+)", _level_from_above, name)


def _level_from_above(match: re.Match[str]) -> str:
    """Single files count the decoder's levels from full resolution down, diffusers from the lowest up."""
    return f"decoder.up.{_LEVELS - 1 - int(match[1])}"
