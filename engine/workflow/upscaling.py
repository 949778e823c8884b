"""Nodes for networks that enlarge pictures."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import REQUIRED, FileName, parameter
from engine.workflow.node import Node, link
from engine.workflow.pictures import Pictures
from engine.workflow.weights import Weights


class Upscaler(Node):
    """A network that enlarges pictures by a whole factor."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class UpscalerFile(Weights, Upscaler):
    """An upscaler from a file."""

    name: str = parameter(
        REQUIRED,
        FileName("the name of an upscaler", optional=False, folder="upscale_models"),
        "a name from the models folders",
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Upscale(Pictures):
    """Pictures, enlarged by a network; those larger than 512 × 512 in tiles."""

    pictures: Pictures = link(Pictures)
    upscaler: Upscaler = link(Upscaler)
