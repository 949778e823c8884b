"""Paints scenes: sky, land, subjects, then brush strokes over all. Knows no words and no networks."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from models.starter.bottle import paint_bottles
from models.starter.canvas import Canvas, blank
from models.starter.lands import paint_land
from models.starter.noise import smooth
from models.starter.skies import paint_sky
from models.starter.subjects import paint_subjects
from models.starter.world import Scene


@torch.no_grad()
def render(scenes: Sequence[Scene], size: int, device: torch.device | str = "cpu") -> Tensor:
    """Paint scenes, (B, 3, size, size) float32 in [0, 1]. A scene looks the same alone, in any batch and at any
    size."""
    canvas = blank(scenes, size, torch.device(device))
    paint_sky(canvas)
    paint_land(canvas)
    paint_subjects(canvas)
    paint_bottles(canvas)
    return _brushed(canvas)


def _brushed(canvas: Canvas) -> Tensor:
    """Make edges waver, let colours pool along short strokes, and darken the corners a little."""
    n, seeds = canvas.size, canvas.seeds
    across = smooth(seeds, "brush u", 16, 16, n, 2) - 0.5
    along = smooth(seeds, "brush v", 16, 16, n, 2) - 0.5
    x = (canvas.u + 0.014 * across) * 2 - 1
    y = (canvas.v + 0.014 * along) * 2 - 1
    where = torch.cat([x, y], dim=1).permute(0, 2, 3, 1)
    image = functional.grid_sample(canvas.image, where, padding_mode="border", align_corners=False)
    stroke = smooth(seeds, "stroke", 30, 12, n, 2) - 0.5
    corners = 1 - 0.22 * ((canvas.u - 0.5) ** 2 + (canvas.v - 0.5) ** 2)
    return (image * corners * (1 + 0.12 * stroke)).clamp(0, 1)
