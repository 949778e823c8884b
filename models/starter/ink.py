"""Draws scenes in ink: brush lines along outlines, washes in the shade, black for the night.

Knows no words and no networks, except that a latent is 8 × 8 pixels: no line is much thinner than that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from models.starter.canvas import mix, rgb, step
from models.starter.edges import blurred, canny, light
from models.starter.noise import smooth
from models.starter.scenes import render
from models.starter.world import Scene

PAPER, INK = (0.95, 0.92, 0.84), (0.08, 0.08, 0.12)


@dataclass(frozen=True, kw_only=True)
class _Model:
    """What a drawing is made from; pictures are (B, 1, S, S)."""

    seeds: Tensor  # (B,) int64
    unit: float  # pixels in a 256th of the side
    figure: Tensor  # 1 on the subjects, 0 elsewhere
    tone: Tensor  # how light: the subjects as by day, what is around them darker at night
    black: Tensor  # 1 where there is nothing but ink
    sparks: Tensor  # 1 on stars
    edges: Tensor  # lines one pixel wide


@torch.no_grad()
def draw(scenes: Sequence[Scene], size: int, device: torch.device | str = "cpu") -> Tensor:
    """Return ink drawings of scenes, (B, 3, size, size) float32 in [0, 1], with everything where ``render`` puts it."""
    model = _look(scenes, size, device)
    lines = _brushed(model, width=4.2 + 0.8 * model.unit)
    shade = torch.maximum(_washed(model), model.black)
    ink = torch.maximum(lines * (1 - model.black), shade * (1 - lines * model.black)) * (1 - model.sparks)
    grain = 1 + 0.05 * (smooth(model.seeds, "paper", 24, 24, size, 2) - 0.5)
    return mix(rgb(*PAPER, like=ink) * grain, rgb(*INK, like=ink), ink).clamp(0, 1)


def _look(scenes: Sequence[Scene], size: int, device: torch.device | str) -> _Model:
    """Find subjects, shade and outlines by rendering the scenes as they are, by day, and without their subjects."""
    unit = size / 256
    by_day = [replace(scene, sky="day", light="none", clouds=False) for scene in scenes]
    seen, day = render(scenes, size, device), render(by_day, size, device)
    empty = render([replace(scene, subject="none") for scene in by_day], size, device)
    figure = step(0.09, 0.14, blurred((day - empty).abs().amax(1, keepdim=True), 1.2 * unit))
    figure = _opened(figure, round(2 * unit))
    seeds = torch.tensor([scene.seed for scene in scenes], device=device)
    dim, bright = (blurred(light(pictures), 1.5 * unit) for pictures in (seen, day))
    uneven = 0.06 * (smooth(seeds, "tone", 6, 6, size, 2) - 0.5)
    near = blurred(light(seen), 6 * unit)
    sparks = step(0.10, 0.20, light(seen) - near) * (near < 0.4) * (1 - figure)
    return _Model(
        seeds=seeds,
        unit=unit,
        figure=figure,
        tone=mix(0.6 * dim + 0.4 * bright, bright, figure) + uneven,
        black=step(0.24, 0.18, mix(dim, bright + 0.04, figure)),
        sparks=functional.max_pool2d(sparks, 3, 1, 1),
        edges=_outlines(seen, day, figure, unit),
    )


def _opened(figure: Tensor, reach: int) -> Tensor:
    """Remove parts thinner than ``2 * reach`` pixels, such as glints."""
    eroded = -functional.max_pool2d(-figure, 2 * reach + 1, 1, reach)
    return functional.max_pool2d(eroded, 2 * reach + 1, 1, reach)


def _outlines(seen: Tensor, day: Tensor, figure: Tensor, unit: float) -> Tensor:
    """Return the outlines and bold inner edges of subjects; elsewhere those of land, clouds, sun and moon."""
    outer = canny(blurred(figure, 1.2 * unit), 0.2, 0.5)
    inner = canny(blurred(day, 0.8 * unit), 0.5 / unit, 0.9 / unit)
    land = canny(blurred(day, 0.8 * unit), 0.25 / unit, 0.5 / unit)
    sky = canny(blurred(seen, 1.6 * unit), 0.35 / unit, 0.55 / unit)
    return torch.maximum(outer, torch.where(figure > 0, inner, torch.maximum(land, sky)))


def _brushed(model: _Model, width: float) -> Tensor:
    """Return brush lines about ``width`` pixels wide along the edges, (B, 1, S, S) from 0 to 1."""
    size, spread = model.edges.shape[-1], width / 2.2
    nib = width / 2 * (0.85 + 0.3 * smooth(model.seeds, "nib", 6, 6, size, 2))
    across = blurred(model.edges, spread) * spread * 2.5066  # 1 on a straight line, a Gaussian across it
    return step(-0.15, 0.15, across - torch.exp(-((nib / spread) ** 2) / 2))


def _washed(model: _Model) -> Tensor:
    """Return two layers of diluted ink, one over all shade and one over the deep shade; (B, 1, S, S) from 0 to 1."""
    size = model.tone.shape[-1]
    pooled = 1 + 0.35 * (smooth(model.seeds, "wash", 10, 10, size, 2) - 0.5)
    first, second = step(0.47, 0.42, model.tone), step(0.34, 0.29, model.tone)
    return (0.26 * first + 0.30 * second) * pooled
