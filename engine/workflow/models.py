"""Nodes for what is loaded from files: checkpoints, and what is made of their networks."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import FileName, WholeNumber, parameter
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
