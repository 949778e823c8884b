"""Paints the land and the water under a finished sky. Knows the horizon, and no subject."""

import torch
from torch import Tensor
from torch.nn import functional

from models.starter.canvas import Canvas, mix, rgb, step
from models.starter.noise import lattice, ridge, smooth, uniform
from models.starter.skies import GRADIENTS, light_position

GROUND = {"mountains": 0.84, "hills": 0.84, "forest": 0.87, "desert": 0.84, "sea": 0.74, "lake": 0.74}
SHORE = {"sea": 0.57, "lake": 0.60}


def paint_land(canvas: Canvas) -> None:
    painters = {
        "mountains": _mountains, "hills": _hills, "forest": _forest, "desert": _desert, "sea": _sea, "lake": _lake,
    }  # fmt: skip
    for name, painter in painters.items():
        keep = [i for i, scene in enumerate(canvas.scenes) if scene.land == name]
        if keep:
            part = canvas.rows(keep)
            painter(part)
            canvas.put(keep, part)


def _haze(canvas: Canvas) -> Tensor:
    """Return the colour of the far distance."""
    return canvas.each({k: c[2] for k, c in GRADIENTS.items()}, [scene.sky for scene in canvas.scenes])


def _range(canvas: Canvas, name: str, foot: float, height: float, cells: int, far: float) -> None:
    """Paint one range of snow-capped peaks, each with a bright and a shaded face; ``far`` 1 melts into the haze."""
    rough = smooth(canvas.seeds, name + "rock", 9, 12, canvas.size, 3) - 0.5
    x = canvas.u * cells + 0.22 * rough
    cell = (canvas.u * cells).floor().long()[0, 0, 0]
    tops, sides = (lattice(canvas.seeds, name + part, 1, cells + 2) for part in ("top", "side"))
    line = torch.full_like(canvas.image[:, :1], 2.0)
    summit, aside = line.clone(), torch.zeros_like(line)
    for neighbour in (-1, 0, 1):
        at = cell + neighbour + 1
        top = foot - height * (0.45 + 0.55 * tops[..., at])
        away = x - (at - 1)[None, None, None] - 0.2 - 0.6 * sides[..., at]
        tent = top + away.abs() * height * 0.72
        front = tent < line
        line, summit, aside = (torch.where(front, a, b) for a, b in ((tent, line), (top, summit), (away, aside)))
    lit = step(0.06, -0.06, aside + 0.8 * rough * (canvas.v - summit) / height)
    rock = mix(rgb(0.25, 0.27, 0.38, like=line), rgb(0.52, 0.50, 0.54, like=line), lit)
    snow = mix(rgb(0.64, 0.71, 0.88, like=line), rgb(0.99, 0.98, 0.98, like=line), lit)
    snowy = step(0.44, 0.34, (canvas.v - summit) / height + 0.8 * rough)
    colour = mix(rock, snow, snowy) * canvas.ambient()
    canvas.paint(mix(colour, _haze(canvas), torch.as_tensor(far)), canvas.inside(line + 0.03 * rough - canvas.v))


def _roll(canvas: Canvas, name: str, base: float, height: float, colour: Tensor, cells: int = 3) -> None:
    """Paint one soft line of hills, lighter along its top."""
    line = base - height * (ridge(canvas.seeds, name, cells, canvas.size, octaves=2) - 0.5)
    depth = canvas.v - line
    grain = smooth(canvas.seeds, name + "grain", 26, 9, canvas.size, 2) - 0.5
    shade = 1.12 - 0.42 * step(0.0, 0.26, depth) + 0.34 * grain
    canvas.paint((colour * shade * canvas.ambient()).clamp(0, 1), canvas.inside(-depth))


def _green(canvas: Canvas) -> Tensor:
    return mix(rgb(0.30, 0.56, 0.22, like=canvas.image), rgb(0.48, 0.64, 0.24, like=canvas.image),
               uniform(canvas.seeds, "green"))  # fmt: skip


def _mountains(canvas: Canvas) -> None:
    _range(canvas, "far range", 0.66, 0.42, 3, 0.40)
    _range(canvas, "near range", 0.76, 0.32, 4, 0.08)
    _roll(canvas, "meadow", 0.71, 0.05, _green(canvas) * 0.85)


def _hills(canvas: Canvas) -> None:
    green = _green(canvas)
    _roll(canvas, "hill 0", 0.52, 0.26, mix(green, _haze(canvas), torch.as_tensor(0.40)), 3)
    _roll(canvas, "hill 1", 0.62, 0.22, green * 0.80, 3)
    _roll(canvas, "hill 2", 0.76, 0.14, green * 1.02, 2)


def _forest(canvas: Canvas) -> None:
    pine = rgb(0.10, 0.30, 0.19, like=canvas.image)
    for layer, (foot, height, cells) in enumerate(((0.66, 0.26, 17), (0.74, 0.33, 12), (0.82, 0.40, 8))):
        far = torch.as_tensor((0.50, 0.22, 0.0)[layer])
        _pines(canvas, f"pines {layer}", foot, height, cells, mix(pine * canvas.ambient(), _haze(canvas), far))
    _roll(canvas, "moss", 0.81, 0.04, rgb(0.20, 0.40, 0.18, like=canvas.image), 4)


def _pines(canvas: Canvas, name: str, foot: float, height: float, cells: int, colour: Tensor) -> None:
    """Paint a row of conifers: one jagged triangle in each cell, which overlaps its neighbours' edges."""
    x = canvas.u * cells
    cell = x.floor().long()[0, 0, 0]
    distance = torch.full_like(canvas.image[:, :1], 1.0)
    tops, sides = (lattice(canvas.seeds, name + part, 1, cells + 2) for part in ("top", "side"))
    for neighbour in (-1, 0, 1):
        at = cell + neighbour + 1
        top = foot - height * (0.55 + 0.45 * tops[..., at])
        centre = (at - 1)[None, None, None] + 0.5 + 0.5 * (sides[..., at] - 0.5)
        down = (canvas.v - top) / (foot - top)
        tier = (down * 4.0).remainder(1.0)
        width = 0.80 * down.clamp(min=0) * (0.72 + 0.38 * tier)
        distance = torch.minimum(distance, ((x - centre).abs() - width) / cells + (down < 0) * 1.0)
    shade = 0.85 + 0.5 * (smooth(canvas.seeds, name + "leaf", 24, 24, canvas.size, 1) - 0.5)
    canvas.paint((colour * shade).clamp(0, 1), canvas.inside(torch.where(canvas.v > foot, -1.0, distance)))


def _desert(canvas: Canvas) -> None:
    sand = mix(rgb(0.93, 0.72, 0.42, like=canvas.image), rgb(0.88, 0.60, 0.34, like=canvas.image),
               uniform(canvas.seeds, "sand"))  # fmt: skip
    _dune(canvas, "dune 0", 0.56, 0.16, mix(sand, _haze(canvas), torch.as_tensor(0.3)))
    _dune(canvas, "dune 1", 0.67, 0.20, sand * 0.93)
    _dune(canvas, "dune 2", 0.81, 0.16, sand)


def _dune(canvas: Canvas, name: str, base: float, height: float, sand: Tensor) -> None:
    profile = ridge(canvas.seeds, name, 3, canvas.size, octaves=1)
    line = base - height * (profile - 0.5) * 1.3
    shadow = smooth(canvas.seeds, name + "lee", 5, 3, canvas.size, 1)
    depth = canvas.v - line
    lee = step(0.5, 0.62, shadow) * step(0.30, 0.0, depth)
    ripples = smooth(canvas.seeds, name + "ripple", 40, 5, canvas.size, 1) - 0.5
    shade = 1.06 - 0.30 * lee - 0.2 * step(0.0, 0.3, depth) + 0.12 * ripples
    canvas.paint((sand * shade * canvas.ambient()).clamp(0, 1), canvas.inside(-depth))


def _sea(canvas: Canvas) -> None:
    deep = mix(rgb(0.05, 0.30, 0.52, like=canvas.image), rgb(0.06, 0.42, 0.52, like=canvas.image),
               uniform(canvas.seeds, "sea hue"))  # fmt: skip
    _water(canvas, SHORE["sea"], deep, mirror=0.35)
    waves = smooth(canvas.seeds, "waves", 30, 5, canvas.size, 2)
    down = ((canvas.v - SHORE["sea"]) / (1 - SHORE["sea"])).clamp(0, 1)
    crest = step(0.60, 0.80, waves) * down * 0.45
    canvas.paint(_haze(canvas), crest * canvas.inside(SHORE["sea"] - canvas.v))


def _lake(canvas: Canvas) -> None:
    rocky = canvas.flag([float(scene.seed % 2) for scene in canvas.scenes])
    before = canvas.image.clone()
    _range(canvas, "lake range", 0.64, 0.36, 4, 0.30)
    canvas.image.copy_(mix(before, canvas.image, rocky))
    _roll(canvas, "far bank", 0.58, 0.10, _green(canvas) * 0.62, 4)
    _water(canvas, SHORE["lake"], rgb(0.12, 0.36, 0.50, like=canvas.image), mirror=0.72)
    _roll(canvas, "near bank", 0.90, 0.06, _green(canvas) * 0.9, 3)


def _water(canvas: Canvas, shore: float, deep: Tensor, mirror: float) -> None:
    """Paint water from ``shore`` down: a rippled reflection of what is above it, and the path of sun or moon."""
    ripple = smooth(canvas.seeds, "ripple", 34, 6, canvas.size, 2) - 0.5
    down = (canvas.v - shore).clamp(min=0)
    x = (canvas.u + 0.10 * ripple * (0.2 + down)).expand(-1, -1, canvas.size, -1) * 2 - 1
    y = (shore - down * 1.15 + 0.05 * ripple) * 2 - 1
    where = torch.cat([x, y.expand_as(x)], dim=1).permute(0, 2, 3, 1)
    image = functional.grid_sample(canvas.image, where, padding_mode="border", align_corners=False)
    water = mix(image, deep * canvas.ambient(), 1 - mirror * (1 - 0.9 * down))
    shown = canvas.flag([float(scene.light != "none") for scene in canvas.scenes])
    u, _ = light_position(canvas)
    path = torch.exp(-(((canvas.u - u) / (0.035 + 0.16 * down)) ** 2)) * step(-0.12, 0.28, ripple)
    water = mix(water, mix(_haze(canvas), rgb(1, 0.97, 0.85, like=deep), torch.as_tensor(0.6)), path * shown * 0.75)
    canvas.paint(water, canvas.inside(shore - canvas.v))
