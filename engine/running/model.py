"""A resident checkpoint, and what the nodes for models, text encoders and VAEs stand for. Knows no request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.errors import BadRequest
from engine.sampling.parametrization import EPS, Parametrization

if TYPE_CHECKING:  # the libraries that load checkpoints take their time to be imported
    from engine.batching.corrections import Correction
    from engine.batching.denoiser import Denoiser
    from engine.checkpoint import Checkpoint
    from engine.networks.patches import Patches
    from engine.pictures.decoder import Decoder
    from engine.pictures.encoder import Encoder
    from engine.text.conditioning import Conditioner


WITH_VAE = "a checkpoint that holds a VAE, which this one does not; or the VAE of another file with it"
"""What is wanted in place of a checkpoint without its VAE."""

WITH_TEXT_ENCODER = "a checkpoint that holds a text encoder, which this one does not; or that of another file with it"
"""What is wanted in place of a checkpoint without its text encoder."""


@dataclass(frozen=True, eq=False)
class Model:
    """A resident checkpoint and what works with it."""

    checkpoint: Checkpoint
    own_conditioner: Conditioner | None
    """None where the checkpoint holds no text encoder."""
    denoiser: Denoiser
    own_decoder: Decoder | None
    """None where the checkpoint holds no VAE."""
    own_encoder: Encoder | None
    """None where the checkpoint holds no VAE."""
    record: dict[str, Any]
    """What the bytes of a picture depend on beside its workflow: versions, device, precision, the checkpoint's file."""

    @property
    def conditioner(self) -> Conditioner:
        """What encodes prompts. Raises ``BadRequest`` where the checkpoint holds no text encoder."""
        if self.own_conditioner is None:
            raise BadRequest("name", self.checkpoint.path.name, WITH_TEXT_ENCODER)
        return self.own_conditioner

    @property
    def decoder(self) -> Decoder:
        """What decodes latents. Raises ``BadRequest`` where the checkpoint holds no VAE."""
        if self.own_decoder is None:
            raise BadRequest("name", self.checkpoint.path.name, WITH_VAE)
        return self.own_decoder

    @property
    def encoder(self) -> Encoder:
        """What encodes pictures. Raises ``BadRequest`` where the checkpoint holds no VAE."""
        if self.own_encoder is None:
            raise BadRequest("name", self.checkpoint.path.name, WITH_VAE)
        return self.own_encoder


@dataclass(frozen=True, eq=False)
class Network:
    """What a node for a model stands for: a network that predicts, and how its predictions are read."""

    denoiser: Denoiser
    parametrization: Parametrization = EPS
    mask_thresholds: float | None = None
    """The strength of differential diffusion, above 0 and at most 1; None: noise masks stay as they are."""
    grey_by: Encoder | None = None
    """What encodes the grey picture that an inpainting network is shown where it is shown no other."""
    patches: Patches = ()
    """What changes the network's own computation."""
    rescale: float = 0.0
    """How much of guidance's result has the positive prediction's spread, 0 … 1."""
    corrections: tuple[Correction, ...] = ()
    """What is added to guidance, one after the other."""
    record: dict[str, Any] = field(default_factory=dict)
    """What a picture's record says of the weights: their files, and how those were read."""


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """What a node for a text encoder stands for."""

    conditioner: Conditioner
    clip_skip: int = 1
    """The layer that is taken: 1 is the last."""
    record: dict[str, Any] = field(default_factory=dict)
    """What a picture's record says of the weights: their files, and how those were read."""


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """What a node for a VAE stands for."""

    decoder: Decoder
    encoder: Encoder
    record: dict[str, Any] = field(default_factory=dict)
    """What a picture's record says of the weights: their files, and how those were read."""


@dataclass(frozen=True, eq=False)
class Networks:
    """What a checkpoint's node, which is all three, stands for."""

    network: Network
    text_encoder: TextEncoder | None
    autoencoder: Autoencoder | None
