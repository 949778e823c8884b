"""Nodes for conditioning: what the network is asked to show."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import REQUIRED, FileName, Text, parameter
from engine.workflow.models import Clip
from engine.workflow.node import Node, link
from engine.workflow.weights import Weights


class Conditioning(Node):
    """What a prediction is conditioned on."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EncodeText(Conditioning):
    """A prompt, encoded."""

    clip: Clip = link(Clip)
    text: str = parameter("", Text(), "what the picture shows; (words:1.3) weigh more, any length")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Embedding(Weights):
    """A textual-inversion embedding. No node links to it: prompts name it, as ``embedding:name``."""

    name: str = parameter(
        REQUIRED,
        FileName(what="the name of an embedding", folder="embeddings", optional=False),
        "an embedding from the models folders",
    )
