"""Nodes for models that are changed without other weights: how their output is read, how they guide and attend."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Flag, Number, OneOf, parameter
from engine.workflow.models import Model
from engine.workflow.node import link


class Reading(Model):
    """A model whose output is read in another way than Stable Diffusion 1's."""

    model: Model


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DiscreteReading(Reading):
    """A model whose output is not, or not only, the noise; it has training timesteps."""

    model: Model = link(Model)
    sampling: str = parameter(
        "eps", OneOf(("eps", "v_prediction", "lcm", "x0", "img_to_img")), "what the network predicts"
    )
    zsnr: bool = parameter(False, Flag(), "whether nothing of the picture is left at the last timestep (2305.08891)")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ContinuousReading(Reading):
    """A model that was trained at every noise level between two ends (Karras et al. 2022, 2206.00364)."""

    model: Model = link(Model)
    sampling: str = parameter("v_prediction", OneOf(("v_prediction", "edm", "eps")), "what the network predicts")
    sigma_max: float = parameter(120.0, Number(0, 1000, above_low=True), "the largest noise level")
    sigma_min: float = parameter(
        0.002, Number(0, 1000, above_low=True), "the smallest noise level, above 0 and below the largest"
    )
