"""Nodes that make of pictures what networks are steered by."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Number, parameter
from engine.workflow.node import link
from engine.workflow.pictures import Pictures

_THRESHOLD = Number(0.01, 0.99)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Edges(Pictures):
    """The edges of pictures, white on black (Canny 1986)."""

    pictures: Pictures = link(Pictures)
    low_threshold: float = parameter(0.4, _THRESHOLD, "how steep a pixel is that carries an edge on")
    high_threshold: float = parameter(0.8, _THRESHOLD, "how steep a pixel is that begins an edge")
