"""Tiny Stable Diffusion 1.x checkpoints for tests: the real single-file layout, made-up weights.

A UNet call takes milliseconds and the file some 14 MB (nearly all of it the token embedding, since the
vocabulary is the real one). Knows nothing of the engine; the shapes come from parity/make_checkpoint.py.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file, save_file

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model.transformer.text_model."


def _load_shapes() -> ModuleType:
    script = Path(__file__).parent / "parity" / "make_checkpoint.py"
    spec = importlib.util.spec_from_file_location("make_checkpoint", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


shapes = _load_shapes()
"""parity/make_checkpoint.py: ``unet_shapes``, ``vae_shapes``, ``clip_shapes``, ``values``."""


def _values(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(shape, generator=generator)
    if "embedding" in name:
        return noise * 0.05
    if len(shape) > 1:
        return noise * (0.9 / math.sqrt(math.prod(shape[1:])))
    return noise * 0.02 + (1.0 if name.endswith("weight") else 0.0)


def tiny_checkpoint_shapes(
    *,
    channels: int = 32,
    mult: tuple[int, ...] = (1, 2, 2, 2),
    blocks: int = 1,
    text_width: int = 64,
    text_layers: int = 2,
    vocab: int = 49408,
    vae_channels: int = 32,
    vae_mult: tuple[int, ...] = (1, 1, 1, 1),
    vae_blocks: int = 1,
) -> dict[str, tuple[int, ...]]:
    """Tensor name → shape of the whole file. ``text_width`` is the width of the UNet's context too."""
    result: dict[str, tuple[int, ...]] = shapes.unet_shapes(channels, context=text_width, mult=mult, blocks=blocks)
    result |= shapes.vae_shapes(vae_channels, mult=vae_mult, blocks=vae_blocks)
    result |= shapes.clip_shapes(width=text_width, layers=text_layers, vocab=vocab)
    return result


def tiny_checkpoint_tensors(
    *, dtype: torch.dtype = torch.float16, seed: int = 0, **layout: Any
) -> dict[str, torch.Tensor]:
    """Name → tensor of a tiny checkpoint; another ``seed`` gives other weights.

    ``layout`` goes to ``tiny_checkpoint_shapes``. As in real files there is a ``position_ids`` too.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: _values(name, shape, generator).to(dtype) for name, shape in tiny_checkpoint_shapes(**layout).items()
    }
    tensors[TEXT + "embeddings.position_ids"] = torch.arange(77)[None]
    return tensors


def write_tiny_checkpoint(path: Path, **options: Any) -> Path:
    """Write ``tiny_checkpoint_tensors(**options)`` as safetensors to ``path``, which is returned."""
    save_file(tiny_checkpoint_tensors(**options), path)
    return path


def write_vae(path: Path, checkpoint: Path) -> Path:
    """Write the VAE of ``checkpoint`` as a file of its own."""
    tensors = load_file(checkpoint)
    save_file({name.removeprefix(VAE): tensors[name] for name in tensors if name.startswith(VAE)}, path)
    return path
