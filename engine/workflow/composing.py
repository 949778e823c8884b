"""Nodes for guidance by several prompts at once, each with a weight of its own: AUTOMATIC1111's ``AND``."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Number, parameter
from engine.workflow.models import Model
from engine.workflow.node import Node, link
from engine.workflow.sampling import SCALE, Guider
from engine.workflow.text import Conditioning

WEIGHT = Number(-1000, 1000)


class Composition(Node):
    """Prompts that guidance follows side by side."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WeightedPrompt(Composition):
    """A prompt, behind those of another composition."""

    conditioning: Conditioning = link(Conditioning)
    weight: float = parameter(1.0, WEIGHT, "how much guidance towards it counts; below 0 leads away")
    before: Composition | None = link(Composition, optional=True)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ComposedGuider(Guider):
    """Guidance towards several prompts: negative + Σ weight · cfg_scale · (prompt − negative)."""

    model: Model = link(Model)
    positive: Composition = link(Composition)
    negative: Conditioning = link(Conditioning)
    cfg_scale: float = parameter(8.0, SCALE, "guidance scale, which each prompt's weight multiplies")


def prompts_of(composition: Composition) -> list[WeightedPrompt]:
    """Return the prompts of a composition, the first of them first."""
    found: list[WeightedPrompt] = []
    node: Composition | None = composition
    while isinstance(node, WeightedPrompt):
        found.append(node)
        node = node.before
    return found[::-1]
