"""Nodes for conditioning: what the network is asked to show."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Text, parameter
from engine.workflow.models import Clip
from engine.workflow.node import Node, link


class Conditioning(Node):
    """What a prediction is conditioned on."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EncodeText(Conditioning):
    """A prompt, encoded."""

    clip: Clip = link(Clip)
    text: str = parameter("", Text(), "what the picture shows; (words:1.3) weigh more, any length")
