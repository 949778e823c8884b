"""A resident checkpoint, and what the nodes for models, text encoders and VAEs stand for. Knows no request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.sampling.parametrization import EPS, Parametrization

if TYPE_CHECKING:  # the libraries that load checkpoints take their time to be imported
    from engine.batching.denoiser import Denoiser
    from engine.checkpoint import Checkpoint
    from engine.pictures.decoder import Decoder
    from engine.pictures.encoder import Encoder
    from engine.text.conditioning import Conditioner


@dataclass(frozen=True, eq=False)
class Model:
    """A resident checkpoint and what works with it."""

    checkpoint: Checkpoint
    conditioner: Conditioner
    denoiser: Denoiser
    decoder: Decoder
    encoder: Encoder
    record: dict[str, Any]
    """What the bytes of a picture depend on beside its workflow: versions, device, precision, the checkpoint's file."""


@dataclass(frozen=True, eq=False)
class Network:
    """What a node for a model stands for: a network that predicts, and how its predictions are read."""

    denoiser: Denoiser
    parametrization: Parametrization = EPS
    mask_thresholds: float | None = None
    """The strength of differential diffusion, above 0 and at most 1; None: noise masks stay as they are."""


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """What a node for a text encoder stands for."""

    conditioner: Conditioner
    clip_skip: int = 1
    """The layer that is taken: 1 is the last."""


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """What a node for a VAE stands for."""

    decoder: Decoder
    encoder: Encoder


@dataclass(frozen=True, eq=False)
class Networks:
    """What a checkpoint's node, which is all three, stands for."""

    network: Network
    text_encoder: TextEncoder
    autoencoder: Autoencoder
