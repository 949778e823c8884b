"""Holds what all painters share: pixels, coordinates, colours and the signed distances of simple shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.starter.noise import uniform
from models.starter.world import Scene

TAU = 2 * math.pi
PIGMENTS = {
    "red": (0.82, 0.13, 0.12),
    "orange": (0.95, 0.50, 0.10),
    "yellow": (0.97, 0.84, 0.20),
    "green": (0.18, 0.58, 0.24),
    "blue": (0.12, 0.34, 0.82),
    "purple": (0.52, 0.18, 0.74),
    "pink": (0.96, 0.52, 0.70),
    "white": (0.95, 0.94, 0.91),
}
AMBIENT = {  # the colour that a sky lends to all that lies under it
    "day": (1.0, 1.0, 1.0),
    "dawn": (0.98, 0.86, 0.88),
    "sunset": (0.95, 0.74, 0.62),
    "night": (0.40, 0.46, 0.68),
    "aurora": (0.42, 0.58, 0.62),
    "galaxy": (0.54, 0.44, 0.70),
}


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """A batch of half-painted scenes. Coordinates run from 0 to 1: u to the right, v downwards."""

    scenes: Sequence[Scene]
    seeds: Tensor  # (B,) int64
    image: Tensor  # (B, 3, S, S), written in place
    u: Tensor  # (1, 1, 1, S)
    v: Tensor  # (1, 1, S, 1)

    @property
    def size(self) -> int:
        return int(self.image.shape[-1])

    def rows(self, keep: Sequence[int]) -> Canvas:
        """Return some of the scenes as a copy; ``put`` writes it back."""
        index = torch.tensor(keep, device=self.seeds.device)
        return replace(self, scenes=[self.scenes[i] for i in keep], seeds=self.seeds[index], image=self.image[index])

    def put(self, keep: Sequence[int], part: Canvas) -> None:
        self.image[torch.tensor(keep, device=self.seeds.device)] = part.image

    def paint(self, colour: Tensor, alpha: Tensor) -> None:
        """Lay ``colour`` (B, 3, …) over the picture where ``alpha`` (B, 1, …) is."""
        self.image.lerp_(colour.expand_as(self.image), alpha.clamp(0, 1).expand_as(self.image))

    def inside(self, distance: Tensor, soft: float = 0.0) -> Tensor:
        """Convert a signed distance into coverage; the edge is one pixel (or ``soft``) wide."""
        width = max(1.5 / self.size, soft)
        return (0.5 - distance / width).clamp(0, 1)

    def each(self, table: dict[str, tuple[float, float, float]], keys: Sequence[str]) -> Tensor:
        """Return one colour for each scene, (B, 3, 1, 1)."""
        return torch.tensor([table[key] for key in keys], device=self.seeds.device)[:, :, None, None]

    def ambient(self) -> Tensor:
        return self.each(AMBIENT, [scene.sky for scene in self.scenes])

    def pigment(self) -> Tensor:
        """Return the subjects' own colour, which is a little different in every scene."""
        jitter = torch.cat([uniform(self.seeds, f"pigment{i}", -0.04, 0.04) for i in range(3)], dim=1)
        return (self.each(PIGMENTS, [scene.colour for scene in self.scenes]) + jitter).clamp(0, 1)

    def flag(self, values: Sequence[float]) -> Tensor:
        """Return one number for each scene, (B, 1, 1, 1)."""
        return torch.tensor(values, device=self.seeds.device, dtype=torch.float32)[:, None, None, None]

    def dark(self) -> Tensor:
        return self.flag([float(scene.sky in ("night", "aurora", "galaxy")) for scene in self.scenes])


def blank(scenes: Sequence[Scene], size: int, device: torch.device) -> Canvas:
    steps = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size
    return Canvas(
        scenes=scenes,
        seeds=torch.tensor([scene.seed for scene in scenes], device=device),
        image=torch.zeros(len(scenes), 3, size, size, device=device),
        u=steps[None, None, None, :],
        v=steps[None, None, :, None],
    )


def rgb(*values: float, like: Tensor) -> Tensor:
    """Return a fixed colour, (1, 3, 1, 1)."""
    return torch.tensor(values, device=like.device)[None, :, None, None]


def mix(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return a + (b - a) * t.clamp(0, 1)


def step(low: float | Tensor, high: float | Tensor, x: Tensor) -> Tensor:
    """Return 0 below ``low``, 1 above ``high`` and a smooth ramp between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def box(
    x: Tensor, y: Tensor, half_width: Tensor | float, half_height: Tensor | float, radius: Tensor | float
) -> Tensor:
    """Return the signed distance to a rounded box at the origin."""
    dx, dy = x.abs() - half_width + radius, y.abs() - half_height + radius
    return torch.hypot(dx.clamp(min=0), dy.clamp(min=0)) + torch.maximum(dx, dy).clamp(max=0) - radius


def join(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Return the union of two shapes, with a rounded seam of width ``k``."""
    h = (0.5 + 0.5 * (b - a) / k).clamp(0, 1)
    return b + (a - b) * h - k * h * (1 - h)


def glow(x: Tensor, y: Tensor, radius: Tensor | float) -> Tensor:
    return torch.exp(-(x * x + y * y) / (radius * radius))
