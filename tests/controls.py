"""Small ControlNets and T2I-adapters for tests, in each of the layouts that people's files have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.checkpoints import UNET, shapes

_PICTURE_WIDTHS = (16, 16, 32, 32, 96, 96, 256)


def _values(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    values = torch.randn(shape, generator=generator)
    return values * (1 / math.sqrt(math.prod(shape[1:]))) if len(shape) > 1 else values * 0.02


def controlnet_shapes(
    *, channels: int = 32, mult: tuple[int, ...] = (1, 2, 2, 2), blocks: int = 1, context: int = 64, colours: int = 3
) -> dict[str, tuple[int, ...]]:
    """Name, without any prefix, → shape of a ControlNet in the single-file layout. The sizes are those of a tiny
    checkpoint's UNet."""
    whole = shapes.unet_shapes(channels, context=context, mult=mult, blocks=blocks)
    names = {name.removeprefix(UNET): shape for name, shape in whole.items()}
    half = ("time_embed.", "input_blocks.", "middle_block.")
    result: dict[str, tuple[int, ...]] = {name: shape for name, shape in names.items() if name.startswith(half)}
    widths = (colours, *_PICTURE_WIDTHS, channels)
    for i in range(8):
        result[f"input_hint_block.{2 * i}.weight"] = (widths[i + 1], widths[i], 3, 3)
        result[f"input_hint_block.{2 * i}.bias"] = (widths[i + 1],)
    outputs = [channels]
    for level, factor in enumerate(mult):
        last = level == len(mult) - 1
        outputs += [channels * factor] * (blocks + (not last))
    for i, width in enumerate(outputs):
        result |= {f"zero_convs.{i}.0.weight": (width, width, 1, 1), f"zero_convs.{i}.0.bias": (width,)}
    width = channels * mult[-1]
    return result | {"middle_block_out.0.weight": (width, width, 1, 1), "middle_block_out.0.bias": (width,)}


def write_controlnet(path: Path, *, prefix: str = "control_model.", seed: int = 0, **layout: Any) -> Path:
    """Write a ControlNet to ``path``, which is returned; ``layout`` goes to ``controlnet_shapes``."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {prefix + name: _values(shape, generator) for name, shape in controlnet_shapes(**layout).items()}
    save_file(tensors, path)
    return path


def adapter_shapes(*, channels: int = 32, mult: tuple[int, ...] = (1, 2, 2, 2), colours: int = 3) -> dict[str, Any]:
    """Name → shape of a T2I-adapter, two blocks a level."""
    widths = [channels * factor for factor in mult]
    result: dict[str, Any] = {"conv_in.weight": (widths[0], 64 * colours, 3, 3), "conv_in.bias": (widths[0],)}
    for i in range(8):
        width, before = widths[i // 2], widths[max(0, (i - 1) // 2)]
        if width != before:
            result |= {f"body.{i}.in_conv.weight": (width, before, 1, 1), f"body.{i}.in_conv.bias": (width,)}
        result |= {f"body.{i}.block1.weight": (width, width, 3, 3), f"body.{i}.block1.bias": (width,)}
        result |= {f"body.{i}.block2.weight": (width, width, 1, 1), f"body.{i}.block2.bias": (width,)}
    return result


def write_adapter(path: Path, *, seed: int = 0, **layout: Any) -> Path:
    """Write a T2I-adapter to ``path``, which is returned; ``layout`` goes to ``adapter_shapes``."""
    generator = torch.Generator().manual_seed(seed)
    save_file({name: _values(shape, generator) for name, shape in adapter_shapes(**layout).items()}, path)
    return path
