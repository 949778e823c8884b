"""Nodes that steer predictions by a picture: ControlNets and T2I-adapters."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import REQUIRED, FileName, Flag, Number, parameter
from engine.workflow.models import Model
from engine.workflow.node import Node, link
from engine.workflow.pictures import Pictures
from engine.workflow.text import Conditioning
from engine.workflow.weights import Weights

_SHARE = Number(0, 1)
_FILE = FileName(what="ControlNet or T2I-adapter", folder="controlnet")


class ControlNetwork(Node):
    """A network that steers predictions by a picture."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ControlFile(Weights, ControlNetwork):
    """The ControlNet or T2I-adapter in a file."""

    name: str = parameter(REQUIRED, _FILE, "a name from the models folders")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ControlFileForModel(Weights, ControlNetwork):
    """The network in a file that may hold what is to be added to a model's weights; other files as ``ControlFile``."""

    model: Model = link(Model)
    name: str = parameter(REQUIRED, _FILE, "a name from the models folders")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Controlled(Conditioning):
    """Prompts whose predictions a network steers by pictures, beside what steers them already.

    The pictures of a batch get ``pictures`` in turn, cropped to their aspect ratio and scaled to their size.
    """

    conditioning: Conditioning = link(Conditioning)
    network: ControlNetwork = link(ControlNetwork)
    pictures: Pictures = link(Pictures)
    strength: float = parameter(1.0, Number(0, 10), "how strongly it steers; 0 does nothing")
    start: float = parameter(0.0, _SHARE, "the share of the sampling from which on it steers")
    end: float = parameter(1.0, _SHARE, "the share of the sampling up to which it steers")
    softly: bool = parameter(
        False, Flag(), "whether it steers the fine layers less: a ControlNet by a factor of 0.825 for each one"
    )
    shared: bool = parameter(False, Flag(), "whether it steers the guider's other prompts too, where nothing else does")
