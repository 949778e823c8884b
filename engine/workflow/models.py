"""Nodes for what is loaded from files: checkpoints, and what is made of their networks."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import REQUIRED, FileName, Number, OneOf, WholeNumber, parameter
from engine.workflow.node import Node, link
from engine.workflow.weights import Weights

LOWEST_LAYER = -24


class Model(Node):
    """A network that predicts noise."""


class Clip(Node):
    """A text encoder."""


class Vae(Node):
    """An autoencoder: latents to pixels, and back."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Checkpoint(Weights, Model, Clip, Vae):
    """The three networks of a checkpoint file."""

    name: str | None = parameter(
        None,
        FileName(what="checkpoint", optional=True),
        "a name from the models folders, or a path; none: the engine's own",
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LastLayer(Clip):
    """A text encoder that stops at an earlier layer, whose output passes the final norm."""

    clip: Clip = link(Clip)
    layer: int = parameter(-1, WholeNumber(LOWEST_LAYER, -1), "-1 is the last layer, -2 the last but one, …")


_LORA = FileName(what="the name of a LoRA", folder="loras", optional=False)
_STRENGTH = Number(-100, 100)
_MANNER = OneOf(("engine", "a1111"))
_MANNER_HELP = (
    "whose names of layers and whose arithmetic; a1111: kohya's names alone, and LoHa, LoKr and whole differences in "
    "the file's own precision"
)
RANK = WholeNumber(0, 10_000)
RANK_HELP = "how many dimensions of a LoRA's products count; 0: all"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WithLora(Weights, Model):
    """A model whose weights a LoRA, or one of its kin, changes. In a stack the innermost comes first."""

    model: Model = link(Model)
    name: str = parameter(REQUIRED, _LORA, "a LoRA from the models folders")
    strength: float = parameter(1.0, _STRENGTH, "how often its change is added; below 0 takes it away")
    manner: str = parameter("engine", _MANNER, _MANNER_HELP)
    rank: int = parameter(0, RANK, RANK_HELP)

    def without_effect(self) -> Node | None:
        return self.model if self.strength == 0 else None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ClipWithLora(Weights, Clip):
    """A text encoder whose weights a LoRA, or one of its kin, changes."""

    clip: Clip = link(Clip)
    name: str = parameter(REQUIRED, _LORA, "a LoRA from the models folders")
    strength: float = parameter(1.0, _STRENGTH, "how often its change is added; below 0 takes it away")
    manner: str = parameter("engine", _MANNER, _MANNER_HELP)
    rank: int = parameter(0, RANK, RANK_HELP)

    def without_effect(self) -> Node | None:
        return self.clip if self.strength == 0 else None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class VaeFile(Weights, Vae):
    """A VAE from a file of its own."""

    name: str = parameter(
        REQUIRED, FileName(what="the name of a VAE", folder="vae", optional=False), "a VAE from the models folders"
    )
