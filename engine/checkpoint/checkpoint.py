"""One single-file Stable Diffusion 1.x checkpoint → UNet, VAE and text encoder, ready to run; offline.

A file may lack the VAE, or the text encoder.

Says of any other file what it is. Knows nothing of prompts, of sampling, or of who uses the networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from engine.checkpoint.contents import CheckpointFacts, Contents, read_contents
from engine.checkpoint.filling import fill
from engine.checkpoint.shapes import LayoutError
from engine.checkpoint.weights import Weights, open_weights
from engine.errors import BrokenCheckpoint


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """The networks of one file, in evaluation mode, without gradients."""

    path: Path
    name: str
    """The file's name without its suffix."""
    unet: UNet2DConditionModel
    own_vae: AutoencoderKL | None
    """None where the file holds none."""
    own_text_encoder: CLIPTextModel | None
    """None where the file holds none."""
    dtype: torch.dtype
    """Of every parameter."""
    device: torch.device
    """Of every parameter and buffer."""
    size_bytes: int
    """Of the parameters."""
    facts: CheckpointFacts

    @property
    def vae(self) -> AutoencoderKL:
        """Its VAE, of a file that holds one."""
        assert self.own_vae is not None, f"{self.path} holds no VAE"
        return self.own_vae

    @property
    def text_encoder(self) -> CLIPTextModel:
        """Its text encoder, of a file that holds one."""
        assert self.own_text_encoder is not None, f"{self.path} holds no text encoder"
        return self.own_text_encoder


def load_checkpoint(
    path: Path | str, *, device: torch.device, dtype: torch.dtype, half_text: bool = False
) -> Checkpoint:
    """Load the checkpoint in ``path`` to ``device`` as ``dtype`` (float16, bfloat16 or float32).

    ``half_text`` rounds the text encoder's weights to float16 where ``dtype`` is float32.

    The file may change or vanish afterwards. Raises ``UnknownCheckpoint`` if there is no such file,
    ``BrokenCheckpoint``, which says what was found or missing, if it is not a sound Stable Diffusion 1.x
    checkpoint, and ``OutOfMemory`` if it does not fit.
    """
    path = Path(path)
    weights = open_weights(path)
    contents = _contents(path, weights)
    fill(path, weights, contents.blueprints, device, dtype, half=contents.text_encoder if half_text else None)
    return Checkpoint(
        path=path,
        name=path.stem,
        unet=contents.unet.module,
        own_vae=None if contents.vae is None else contents.vae.module,
        own_text_encoder=None if contents.text_encoder is None else contents.text_encoder.module,
        dtype=dtype,
        device=device,
        size_bytes=contents.facts.size_bytes(dtype),
        facts=contents.facts,
    )


def inspect_checkpoint(path: Path | str) -> CheckpointFacts:
    """Return what the header of the checkpoint in ``path`` tells, in milliseconds; no weights are read.

    Raises what ``load_checkpoint`` raises, except for bad values and want of memory.
    """
    path = Path(path)
    return _contents(path, open_weights(path, values=False)).facts


def _contents(path: Path, weights: Weights) -> Contents:
    try:
        return read_contents(weights.shapes, weights.dtypes)
    except LayoutError as error:
        raise BrokenCheckpoint(path, str(error)) from None
