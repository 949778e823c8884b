"""Paints lighthouses, boats, houses and trees, one place at a time. Knows no land, and of the sky only its light."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.starter.canvas import Canvas, box, glow, join, mix, rgb, step
from models.starter.lands import GROUND
from models.starter.noise import smooth, uniform
from models.starter.world import MAX_COUNT

SLOTS = {1: (0.5,), 2: (0.29, 0.71), 3: (0.19, 0.5, 0.81)}
SIDE = {"left": -0.24, "centre": 0.0, "right": 0.24}
SCALE = {1: 1.0, 2: 0.80, 3: 0.64}


@dataclass(frozen=True, kw_only=True)
class Spot:
    """The place of one subject of every scene: its foot and its size, as (B, 1, 1, 1)."""

    u: Tensor
    v: Tensor
    scale: Tensor

    def local(self, canvas: Canvas) -> tuple[Tensor, Tensor]:
        """Return coordinates with the foot at (0, 0), y upwards, in units of the subject's size."""
        return (canvas.u - self.u) / self.scale, (self.v - canvas.v) / self.scale


def spots(canvas: Canvas, k: int, feet: dict[str, float] = GROUND) -> Spot:
    """Return the k-th place of the scenes that have more than k subjects."""
    scenes = canvas.scenes
    centre = canvas.flag([SLOTS[s.count][k] + (SIDE[s.place] if s.count == 1 else 0.0) for s in scenes])
    scale = canvas.flag([SCALE[s.count] for s in scenes]) * uniform(canvas.seeds, f"scale {k}", 0.92, 1.08)
    return Spot(
        u=centre + uniform(canvas.seeds, f"spot u{k}", -0.03, 0.03),
        v=canvas.flag([feet[s.land] for s in scenes]) + uniform(canvas.seeds, f"spot v{k}", -0.02, 0.03),
        scale=scale,
    )


def paint_subjects(canvas: Canvas) -> None:
    painters = {"lighthouse": _lighthouse, "boat": _boat, "house": _house, "tree": _tree}
    for name, painter in painters.items():
        for k in range(MAX_COUNT):
            keep = [i for i, scene in enumerate(canvas.scenes) if scene.subject == name and scene.count > k]
            if keep:
                part = canvas.rows(keep)
                spot = spots(part, k)
                if name != "boat":
                    _footing(part, spot)
                painter(part, spot, k)
                canvas.put(keep, part)


def _footing(canvas: Canvas, spot: Spot) -> None:
    """Paint a rock in water, or a soft shadow on land."""
    x, y = spot.local(canvas)
    wet = canvas.flag([float(scene.land in ("sea", "lake")) for scene in canvas.scenes])
    rough = smooth(canvas.seeds, "footing", 14, 14, canvas.size, 2) - 0.5
    rock = torch.hypot(x * 0.36, y + 0.05) - 0.105 + 0.05 * rough
    stone = mix(rgb(0.30, 0.27, 0.27, like=x), rgb(0.52, 0.50, 0.44, like=x), step(-0.08, 0.06, y + 0.12 * rough))
    shadow = glow(x * 0.45, y * 2.2 + 0.02, 0.13) * 0.45
    canvas.paint(stone * canvas.ambient(), canvas.inside(rock) * wet)
    canvas.paint(torch.zeros_like(stone), shadow * (1 - wet))


def _shaded(canvas: Canvas, colour: Tensor, across: Tensor) -> Tensor:
    """Shade with light from the left: ``across`` runs from −1 to 1 over the shape."""
    return (colour * (1.08 - 0.30 * step(-0.6, 1.0, across)) * canvas.ambient()).clamp(0, 1)


def _lighthouse(canvas: Canvas, spot: Spot, k: int) -> None:
    x, y = spot.local(canvas)
    half = 0.085 - 0.055 * y.clamp(0, 0.5)
    tower = torch.maximum(x.abs() - half, (y - 0.25).abs() - 0.25)
    stripes = step(-0.12, 0.12, torch.sin(y * 31.4 - 1.0))
    wall = mix(rgb(0.96, 0.95, 0.92, like=x), canvas.pigment(), stripes)
    wall = torch.where(canvas.flag([float(s.colour == "white") for s in canvas.scenes]) > 0, canvas.pigment(), wall)
    canvas.paint(_shaded(canvas, wall, x / half), canvas.inside(tower))
    iron = rgb(0.16, 0.16, 0.20, like=x)
    canvas.paint(iron * canvas.ambient(), canvas.inside(box(x, y - 0.505, 0.078, 0.012, 0.004)))
    lamp = mix(rgb(0.75, 0.86, 0.90, like=x), rgb(1.0, 0.93, 0.60, like=x), canvas.dark())
    canvas.paint(lamp, canvas.inside(box(x, y - 0.545, 0.042, 0.035, 0.004)))
    roof = torch.maximum(x.abs() - (0.66 - y) * 0.75, 0.578 - y)
    canvas.paint(_shaded(canvas, canvas.pigment() * 0.8, x * 12), canvas.inside(roof))
    beam = torch.exp(-(((y - 0.545) / (0.012 + 0.10 * x.abs())) ** 2)) * torch.exp(-x.abs() / 0.45)
    canvas.paint(lamp, (beam * 0.55 + glow(x, y - 0.545, 0.10) * 0.5) * canvas.dark())


def _boat(canvas: Canvas, spot: Spot, k: int) -> None:
    x, y = spot.local(canvas)
    canvas.paint(torch.zeros_like(canvas.image), glow(x * 0.5, y * 2.6 + 0.04, 0.10) * 0.45)
    tint = canvas.pigment()
    hull_half = 0.15 + 0.55 * y
    hull = torch.maximum(x.abs() - hull_half, torch.maximum(-0.01 - y, y - 0.10 - 0.25 * x * x))
    canvas.paint(_shaded(canvas, tint * 0.92, x / 0.2), canvas.inside(hull))
    rail = torch.maximum(hull, 0.078 - y + 0.25 * x * x)
    canvas.paint(rgb(0.95, 0.92, 0.84, like=x) * canvas.ambient(), canvas.inside(rail))
    mast = box(x - 0.005, y - 0.30, 0.007, 0.20, 0.002)
    canvas.paint(rgb(0.36, 0.24, 0.15, like=x) * canvas.ambient(), canvas.inside(mast))
    sail = torch.maximum(torch.maximum(0.016 - x, 0.14 - y), x * 1.55 + y - 0.49)
    cream = mix(rgb(0.97, 0.94, 0.86, like=x), rgb(0.86, 0.82, 0.76, like=x), x * 4)
    canvas.paint(cream * canvas.ambient(), canvas.inside(sail))
    jib = torch.maximum(torch.maximum(x + 0.006, 0.14 - y), y - 0.47 - 1.9 * x)
    canvas.paint(_shaded(canvas, tint, x * 8 + 0.5), canvas.inside(jib))


def _house(canvas: Canvas, spot: Spot, k: int) -> None:
    x, y = spot.local(canvas)
    dark = canvas.dark()
    brick = rgb(0.40, 0.26, 0.22, like=x)
    canvas.paint(brick * canvas.ambient(), canvas.inside(box(x - 0.10, y - 0.34, 0.025, 0.06, 0.004)))
    canvas.paint(_shaded(canvas, canvas.pigment(), x / 0.18), canvas.inside(box(x, y - 0.11, 0.175, 0.12, 0.004)))
    roof = torch.maximum(x.abs() - (0.41 - y) * 1.15, 0.215 - y)
    slate = mix(rgb(0.34, 0.22, 0.20, like=x), rgb(0.30, 0.30, 0.38, like=x), uniform(canvas.seeds, "slate"))
    canvas.paint(_shaded(canvas, slate, x / 0.2), canvas.inside(roof))
    canvas.paint(
        rgb(0.30, 0.19, 0.12, like=x) * canvas.ambient(), canvas.inside(box(x, y - 0.065, 0.032, 0.075, 0.004))
    )
    pane = mix(rgb(0.62, 0.76, 0.84, like=x) * canvas.ambient(), rgb(1.0, 0.85, 0.42, like=x), dark)
    windows = box(x.abs() - 0.105, y - 0.13, 0.033, 0.036, 0.004)
    canvas.paint(rgb(0.95, 0.93, 0.88, like=x) * canvas.ambient(), canvas.inside(windows - 0.010))
    canvas.paint(pane, canvas.inside(windows))
    canvas.paint(pane, glow(x.abs() - 0.105, y - 0.13, 0.07) * 0.35 * dark)


def _tree(canvas: Canvas, spot: Spot, k: int) -> None:
    x, y = spot.local(canvas)
    half = 0.026 + 0.03 * torch.exp(-y.clamp(min=0) / 0.05)
    trunk = torch.maximum(x.abs() - half, (y - 0.13).abs() - 0.15)
    bark = rgb(0.33, 0.22, 0.15, like=x)
    canvas.paint(_shaded(canvas, bark, x / 0.05), canvas.inside(trunk))
    leaf = smooth(canvas.seeds, f"leaf {k}", 14, 14, canvas.size, 3) - 0.5
    lean = uniform(canvas.seeds, f"lean {k}", -0.04, 0.04)
    crown = torch.hypot(x - lean, (y - 0.40) * 1.05) - 0.155
    for side, level in ((-1.0, 0.32), (1.0, 0.30)):
        crown = join(crown, torch.hypot(x - 0.11 * side, y - level) - 0.105, 0.05)
    crown = crown + 0.10 * leaf
    light = step(-0.16, 0.20, (y - 0.36) - 0.5 * x + 0.35 * leaf)
    colour = canvas.pigment() * (0.62 + 0.52 * light)
    canvas.paint((colour * canvas.ambient()).clamp(0, 1), canvas.inside(crown, 0.012))
