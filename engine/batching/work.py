"""What predictions cost, relative to each other. Imports no torch, for what is known before a run.

The unit is one prediction of the UNet for a picture of 512 × 512.
"""

from __future__ import annotations

CELLS = 64 * 64
"""The latent cells of a picture of 512 × 512."""

CONTROL = 0.5
"""Predictions that a ControlNet's call takes as long as, about: it is the first half of a UNet."""


def work_of(cells: float, controls: float = 0.0) -> float:
    """Return about what a prediction for ``cells`` latent cells costs that ``controls`` ControlNets steer."""
    return cells / CELLS * (1 + CONTROL * controls)
