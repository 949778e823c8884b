"""A resident checkpoint: its networks, and what works with them. Knows no request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the libraries that load checkpoints take their time to be imported
    from engine.batching.denoiser import Denoiser
    from engine.checkpoint import Checkpoint
    from engine.pictures.decoder import Decoder
    from engine.text.conditioning import Conditioner


@dataclass(frozen=True, eq=False)
class Model:
    """A resident checkpoint and what works with it."""

    checkpoint: Checkpoint
    conditioner: Conditioner
    denoiser: Denoiser
    decoder: Decoder
    record: dict[str, Any]
    """What the bytes of a picture depend on beside its workflow: versions, device, precision, the checkpoint's file."""


@dataclass(frozen=True, eq=False)
class Networks:
    """What a workflow's node for a model, text encoder or VAE stands for."""

    model: Model
    clip_skip: int = 1
    """The text encoder's layer that is taken: 1 is the last."""
