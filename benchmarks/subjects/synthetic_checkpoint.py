"""Makes a synthetic Stable Diffusion 1.x checkpoint: the real single-file layout with random weights in float16.

Speed does not depend on the weights' values as long as they are not zeros and drive nothing out of range.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

CACHE = Path(__file__).resolve().parent.parent / "checkpoints"
"""The folder where synthetic checkpoints are kept between runs; git ignores it."""

_POOL = 2**24 - 3  # values that all tensors are cut from; odd, so that no two rows of a matrix are equal

Entry = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Sizes of the networks; the defaults are Stable Diffusion 1.5's."""

    unet: int = 320
    unet_levels: tuple[int, ...] = (1, 2, 4, 4)
    """Multiples of ``unet``; every level but the last has attention."""
    unet_blocks: int = 2
    context: int = 768
    text_layers: int = 12
    vae: int = 128
    vae_levels: tuple[int, ...] = (1, 2, 4, 4)
    vae_blocks: int = 2


FULL = Widths()
NARROW = Widths(
    unet=32,
    unet_levels=(1, 1, 2, 2),
    unet_blocks=1,
    context=64,
    text_layers=2,
    vae=32,
    vae_levels=(1, 1, 1, 1),
    vae_blocks=1,
)
"""Sizes that make a picture in a fraction of a second on one core."""


def synthetic_checkpoint(path: Path, widths: Widths = FULL) -> Path:
    """Return ``path``, after writing it if it does not exist: 2.1 GB in full width, the same bytes on every machine."""
    return path if path.exists() else random_file(path, shapes(widths))


def random_file(path: Path, entries: Iterable[Entry], fixed: Mapping[str, torch.Tensor] | None = None) -> Path:
    """Write tensors of these names and shapes with random values in float16, and the ``fixed`` ones; return ``path``.

    The file appears whole or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pool = torch.randn(_POOL, generator=torch.Generator().manual_seed(0))
    place, tensors = 0, dict(fixed or {})
    for name, shape in entries:
        count = math.prod(shape)
        values = torch.empty(count, dtype=torch.float16)
        for start in range(0, count, _POOL):
            part = values[start : start + _POOL]
            if place + part.numel() > _POOL:
                place %= _POOL - part.numel() + 1
            _fill(part, pool[place : place + part.numel()], name, shape)
            place += part.numel()
        tensors[name] = values.reshape(shape)
    temporary = path.with_suffix(f".{os.getpid()}.partial")
    save_file(tensors, temporary, metadata={"title": "synthetic"})
    os.replace(temporary, path)
    return path


def _fill(target: torch.Tensor, source: torch.Tensor, name: str, shape: tuple[int, ...]) -> None:
    """Fill ``target`` with values scaled so that a layer's output has about the variance of its input."""
    if "embedding" in name:
        target.copy_(source * 0.05)
    elif len(shape) > 1:
        target.copy_(source * (0.9 / math.sqrt(math.prod(shape[1:]))))
    else:
        target.copy_(source * 0.02 + (1.0 if name.endswith("weight") else 0.0))


def shapes(widths: Widths) -> Iterator[Entry]:
    """Give name and shape of every tensor in the file."""
    for prefix, part in (
        ("model.diffusion_model", _unet(widths)),
        ("first_stage_model", _vae(widths)),
        ("cond_stage_model.transformer.text_model", _text_encoder(widths)),
    ):
        yield from _under(prefix, part)


def _under(prefix: str, entries: Iterator[Entry]) -> Iterator[Entry]:
    for name, shape in entries:
        yield f"{prefix}.{name}", shape


def _layer(name: str, *shape: int, bias: bool = True) -> Iterator[Entry]:
    """Give a linear layer or convolution whose weight has this shape; the first size is the number of outputs."""
    yield f"{name}.weight", shape
    if bias:
        yield f"{name}.bias", shape[:1]


def _residual(layers: dict[str, str], n_in: int, n_out: int, time: int | None = None) -> Iterator[Entry]:
    """Two normalised 3×3 convolutions with a time embedding added in between, and a 1×1 where the widths differ."""
    yield from _layer(layers["norm1"], n_in)
    yield from _layer(layers["conv1"], n_out, n_in, 3, 3)
    if time is not None:
        yield from _layer(layers["time"], n_out, time)
    yield from _layer(layers["norm2"], n_out)
    yield from _layer(layers["conv2"], n_out, n_out, 3, 3)
    if n_in != n_out:
        yield from _layer(layers["shortcut"], n_out, n_in, 1, 1)


_UNET_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "shortcut": "skip_connection",
}
_VAE_RESIDUAL = {name: name for name in ("norm1", "conv1", "norm2", "conv2")} | {"shortcut": "nin_shortcut"}


def _transformer(width: int, context: int) -> Iterator[Entry]:
    yield from _layer("norm", width)
    yield from _layer("proj_in", width, width, 1, 1)
    block = "transformer_blocks.0"
    for attention, source in (("attn1", width), ("attn2", context)):
        for letter, n_in in (("q", width), ("k", source), ("v", source)):
            yield from _layer(f"{block}.{attention}.to_{letter}", width, n_in, bias=False)
        yield from _layer(f"{block}.{attention}.to_out.0", width, width)
    yield from _layer(f"{block}.ff.net.0.proj", 8 * width, width)
    yield from _layer(f"{block}.ff.net.2", width, 4 * width)
    for number in (1, 2, 3):
        yield from _layer(f"{block}.norm{number}", width)
    yield from _layer("proj_out", width, width, 1, 1)


def _unet(widths: Widths) -> Iterator[Entry]:
    base, time, last = widths.unet, 4 * widths.unet, len(widths.unet_levels) - 1
    yield from _layer("time_embed.0", time, base)
    yield from _layer("time_embed.2", time, time)
    yield from _layer("input_blocks.0.0", base, 4, 3, 3)
    skips, width, number = [base], base, 1

    def block(place: str, n_in: int, n_out: int, attention: bool) -> Iterator[Entry]:
        yield from _under(f"{place}.0", _residual(_UNET_RESIDUAL, n_in, n_out, time))
        if attention:
            yield from _under(f"{place}.1", _transformer(n_out, widths.context))

    for level, multiple in enumerate(widths.unet_levels):
        for _ in range(widths.unet_blocks):
            yield from block(f"input_blocks.{number}", width, base * multiple, level < last)
            width, number = base * multiple, number + 1
            skips.append(width)
        if level < last:
            yield from _layer(f"input_blocks.{number}.0.op", width, width, 3, 3)
            skips.append(width)
            number += 1
    yield from block("middle_block", width, width, True)
    yield from _under("middle_block.2", _residual(_UNET_RESIDUAL, width, width, time))
    number = 0
    for level, multiple in reversed(list(enumerate(widths.unet_levels))):
        for repeat in range(widths.unet_blocks + 1):
            yield from block(f"output_blocks.{number}", width + skips.pop(), base * multiple, level < last)
            width = base * multiple
            if level and repeat == widths.unet_blocks:
                yield from _layer(f"output_blocks.{number}.{1 + (level < last)}.conv", width, width, 3, 3)
            number += 1
    yield from _layer("out.0", width)
    yield from _layer("out.2", 4, width, 3, 3)


def _vae(widths: Widths) -> Iterator[Entry]:
    base, levels, blocks = widths.vae, widths.vae_levels, widths.vae_blocks
    top = base * levels[-1]
    yield from _layer("encoder.conv_in", base, 3, 3, 3)
    width = base
    for level, multiple in enumerate(levels):
        for number in range(blocks):
            yield from _under(f"encoder.down.{level}.block.{number}", _residual(_VAE_RESIDUAL, width, base * multiple))
            width = base * multiple
        if level < len(levels) - 1:
            yield from _layer(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
    yield from _vae_end("encoder", top, 8)
    yield from _layer("quant_conv", 8, 8, 1, 1)
    yield from _layer("post_quant_conv", 4, 4, 1, 1)
    yield from _layer("decoder.conv_in", top, 4, 3, 3)
    for level, multiple in reversed(list(enumerate(levels))):
        for number in range(blocks + 1):
            yield from _under(f"decoder.up.{level}.block.{number}", _residual(_VAE_RESIDUAL, width, base * multiple))
            width = base * multiple
        if level:
            yield from _layer(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
    yield from _vae_end("decoder", top, 3, width)


def _vae_end(half: str, middle: int, outputs: int, width: int | None = None) -> Iterator[Entry]:
    """Give the middle of encoder or decoder, ``middle`` channels wide, and its last layers, ``width`` channels wide."""
    for number in (1, 2):
        yield from _under(f"{half}.mid.block_{number}", _residual(_VAE_RESIDUAL, middle, middle))
    yield from _layer(f"{half}.mid.attn_1.norm", middle)
    for name in ("q", "k", "v", "proj_out"):
        yield from _layer(f"{half}.mid.attn_1.{name}", middle, middle, 1, 1)
    yield from _layer(f"{half}.norm_out", width or middle)
    yield from _layer(f"{half}.conv_out", outputs, width or middle, 3, 3)


def _text_encoder(widths: Widths) -> Iterator[Entry]:
    width = widths.context
    yield "embeddings.token_embedding.weight", (49408, width)
    yield "embeddings.position_embedding.weight", (77, width)
    for number in range(widths.text_layers):
        layer = f"encoder.layers.{number}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _layer(f"{layer}.self_attn.{name}", width, width)
        yield from _layer(f"{layer}.mlp.fc1", 4 * width, width)
        yield from _layer(f"{layer}.mlp.fc2", width, 4 * width)
        for name in ("layer_norm1", "layer_norm2"):
            yield from _layer(f"{layer}.{name}", width)
    yield from _layer("final_layer_norm", width)
