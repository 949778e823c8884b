"""Nodes for pictures, and for what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Text, parameter
from engine.workflow.latents import Latents
from engine.workflow.models import Vae
from engine.workflow.node import Node, link


class Pictures(Node):
    """A batch of RGB pictures."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Decode(Pictures):
    """Latents as pixels."""

    latents: Latents = link(Latents)
    vae: Vae = link(Vae)


class Output(Node):
    """What becomes of pictures. Only what an output depends on is computed."""

    pictures: Pictures


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SavePictures(Output):
    """Pictures to be kept."""

    pictures: Pictures = link(Pictures)
    prefix: str = parameter("ComfyUI", Text(), "how their files' names begin; may have folders")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ShowPictures(Output):
    """Pictures to be shown, and kept for a while only."""

    pictures: Pictures = link(Pictures)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SendPictures(Output):
    """Pictures to be sent to whom the workflow belongs, and not kept."""

    pictures: Pictures = link(Pictures)
