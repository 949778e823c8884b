"""Nodes for repainting: how a model follows a mask."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Number, parameter
from engine.workflow.models import Model
from engine.workflow.node import link


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DifferentialDiffusion(Model):
    """A model that repaints a cell of the noise mask from the step on at which its value says so (Levin & Fried 2023,
    arXiv 2306.00950): the larger the value, the earlier."""

    model: Model = link(Model)
    strength: float = parameter(
        1.0, Number(0, 1), "the share of these steps; the rest follows the mask as it is, at 0 all of it"
    )
