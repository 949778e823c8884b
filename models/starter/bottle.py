"""Paints glass bottles and the small worlds inside them. Knows nothing of what surrounds them but the light."""

import torch
from torch import Tensor

from models.starter.canvas import TAU, Canvas, box, glow, join, mix, rgb, step
from models.starter.noise import lattice, smooth, uniform
from models.starter.subjects import Spot, spots
from models.starter.world import CONTENTS, MAX_COUNT

FEET = {"mountains": 0.90, "hills": 0.90, "forest": 0.91, "desert": 0.90, "sea": 0.91, "lake": 0.93}


def paint_bottles(canvas: Canvas) -> None:
    keep = [i for i, scene in enumerate(canvas.scenes) if scene.subject == "bottle"]
    if not keep:
        return
    part = canvas.rows(keep)
    _beach(part)
    for k in range(MAX_COUNT):
        enough = [i for i, scene in enumerate(part.scenes) if scene.count > k]
        if enough:
            some = part.rows(enough)
            _bottle(some, spots(some, k, FEET), k)
            part.put(enough, some)
    canvas.put(keep, part)


def _beach(canvas: Canvas) -> None:
    """Paint the sand that a bottle by the sea stands on."""
    wet = canvas.flag([float(scene.land == "sea") for scene in canvas.scenes])
    line = 0.83 + 0.03 * torch.sin(canvas.u * 7 + uniform(canvas.seeds, "beach", 0, TAU))
    sand = rgb(0.90, 0.78, 0.56, like=line) * (0.9 + 0.2 * smooth(canvas.seeds, "sand", 20, 20, canvas.size, 2))
    canvas.paint((sand * canvas.ambient()).clamp(0, 1), canvas.inside(line - canvas.v, 0.02) * wet)


def _shape(canvas: Canvas, x: Tensor, y: Tensor) -> Tensor:
    """Return the signed distance to a round flask or a square-shouldered bottle, with its neck."""
    flask = torch.hypot(x, (y - 0.225) * 1.0) - 0.225
    jar = box(x, y - 0.215, 0.175, 0.215, 0.07)
    body = torch.where(uniform(canvas.seeds, "flask") < 0.4, flask, jar)
    body = torch.maximum(body, -y)
    return join(body, box(x, y - 0.48, 0.062, 0.09, 0.01), 0.06)


def _bottle(canvas: Canvas, spot: Spot, k: int) -> None:
    x, y = spot.local(canvas)
    tint = canvas.pigment()
    light = canvas.ambient() * 0.55 + 0.45  # glass holds its own light
    shape = _shape(canvas, x, y)
    canvas.paint(torch.zeros_like(tint), glow(x * 0.42, y * 2.4 + 0.02, 0.11) * 0.40)
    galaxy = canvas.flag([float(scene.content == "galaxy") for scene in canvas.scenes])
    canvas.paint(tint, glow(x, y - 0.24, 0.36) * 0.30 * galaxy)
    cork = box(x, y - 0.585, 0.050, 0.040, 0.008)
    canvas.paint(rgb(0.66, 0.46, 0.28, like=x) * (1.0 - 2.5 * x) * canvas.ambient(), canvas.inside(cork))
    inner = _contents(canvas, x, y - 0.225, k) * light
    canvas.paint(inner.clamp(0, 1), canvas.inside(shape + 0.016, 0.008))
    rim = torch.exp(-((shape + 0.012) ** 2) / 0.014**2) + 0.5 * torch.exp(shape.clamp(max=0) / 0.035)
    edge = (tint * 0.80 + 0.14) * light
    canvas.paint(edge, rim * 0.85 * canvas.inside(shape))
    streak = torch.exp(-(((x + 0.115) / 0.016) ** 2)) * step(0.07, 0.16, y) * step(0.38, 0.28, y)
    spot_of_light = glow(x + 0.035, (y - 0.50) * 0.5, 0.014) + glow(x - 0.10, y - 0.33, 0.020)
    canvas.paint(rgb(1.0, 1.0, 1.0, like=x), (streak * 0.65 + spot_of_light * 0.6) * canvas.inside(shape))


def _contents(canvas: Canvas, x: Tensor, y: Tensor, k: int) -> Tensor:
    """Paint what the glass holds, (B, 3, S, S); the origin is the body's centre, whose radius is about 0.2."""
    painters = {
        "galaxy": _galaxy, "sea": _sea, "mountains": _mountains, "forest": _forest, "sunset": _sunset, "empty": _empty,
    }  # fmt: skip
    colour = torch.zeros_like(canvas.image)
    for name in CONTENTS:
        keep = [i for i, scene in enumerate(canvas.scenes) if scene.content == name]
        if keep:
            colour[keep] = painters[name](canvas.rows(keep), x[keep], y[keep], k).expand(
                -1, 3, canvas.size, canvas.size
            )
    plain = canvas.flag([0.0 if scene.content == "galaxy" else 0.30 for scene in canvas.scenes])
    return mix(colour, canvas.pigment(), plain)


def _galaxy(canvas: Canvas, x: Tensor, y: Tensor, k: int) -> Tensor:
    """Paint a spiral of light and stars in the bottle's own colour."""
    tint, n = canvas.pigment(), canvas.size
    cloud = smooth(canvas.seeds, f"nebula {k}", 8, 8, n, 3)
    radius, angle = torch.hypot(x, y * 1.25), torch.atan2(y * 1.25, x)
    arms = 0.5 + 0.5 * torch.cos(
        2 * angle + 26 * radius + uniform(canvas.seeds, f"spin {k}", 0, TAU) + 5 * (cloud - 0.5)
    )
    bright = (0.55 * arms + 0.75 * cloud) * torch.exp(-((radius / 0.22) ** 2))
    colour = mix(tint * 0.22 + rgb(0.01, 0.01, 0.06, like=x), tint * 1.05, step(0.10, 0.55, bright))
    colour = mix(colour, tint * 0.35 + 0.65, step(0.50, 1.05, bright))
    colour = mix(colour, rgb(1.0, 0.97, 0.94, like=x), glow(x, y * 1.25, 0.045))
    return mix(colour, rgb(1.0, 1.0, 0.95, like=x), _specks(canvas, x, y, k))


def _specks(canvas: Canvas, x: Tensor, y: Tensor, k: int) -> Tensor:
    """Paint stars inside the glass: one in some cells of a grid that moves with the bottle."""
    cells = 12
    gx, gy = ((a.clamp(-0.3, 0.299) / 0.6 + 0.5) * cells for a in (x, y))
    ix, iy = gx.floor().long().clamp(0, cells - 1), gy.floor().long().clamp(0, cells - 1)
    at = iy * cells + ix  # (B, 1, S, S)
    some = lattice(canvas.seeds, f"speck {k}", cells, cells).flatten(1).gather(1, at.flatten(1)).reshape(at.shape)
    return glow(gx - ix - 0.5, gy - iy - 0.5, 0.20) * step(0.70, 0.9, some)


def _mini_sky(canvas: Canvas, x: Tensor, y: Tensor) -> Tensor:
    warm = uniform(canvas.seeds, "inner sky")
    low = mix(rgb(0.88, 0.94, 0.97, like=x), rgb(1.0, 0.86, 0.70, like=x), warm)
    return mix(low, rgb(0.42, 0.68, 0.93, like=x), step(-0.10, 0.25, y))


def _sea(canvas: Canvas, x: Tensor, y: Tensor, k: int) -> Tensor:
    wave = 0.012 * torch.sin(x * 42 + uniform(canvas.seeds, f"wave {k}", 0, TAU))
    water = mix(rgb(0.16, 0.62, 0.72, like=x), rgb(0.03, 0.20, 0.46, like=x), step(0.02, -0.22, y))
    foam = torch.exp(-(((y - wave) / 0.010) ** 2))
    colour = mix(_mini_sky(canvas, x, y), water, canvas.inside(y - wave))
    return mix(colour, rgb(1, 1, 1, like=x), foam)


def _mountains(canvas: Canvas, x: Tensor, y: Tensor, k: int) -> Tensor:
    shift = uniform(canvas.seeds, f"peak {k}", -0.05, 0.05)
    colour = _mini_sky(canvas, x, y)
    for centre, top in ((-0.09, 0.06), (0.07, 0.12)):
        away = (x - centre - shift).abs() * 1.15
        rock = mix(rgb(0.50, 0.50, 0.58, like=x), rgb(0.30, 0.32, 0.42, like=x), step(-0.01, 0.01, x - centre - shift))
        rock = mix(rock, rgb(0.97, 0.97, 0.99, like=x), step(top - 0.09, top - 0.05, y + 0.3 * away))
        colour = mix(colour, rock, canvas.inside(y - top + away))
    return mix(colour, rgb(0.32, 0.56, 0.24, like=x), canvas.inside(y + 0.10))


def _forest(canvas: Canvas, x: Tensor, y: Tensor, k: int) -> Tensor:
    colour = _mini_sky(canvas, x, y)
    for centre, top in ((-0.14, 0.02), (0.13, 0.04), (-0.06, 0.10), (0.05, 0.14)):
        down = (top - y).clamp(min=0)
        pine = (x - centre).abs() - 0.30 * down * (0.7 + 0.5 * (down * 14).remainder(1.0))
        shade = 0.8 + 2.0 * (top - 0.02)
        colour = mix(colour, rgb(0.10, 0.38, 0.20, like=x) * shade, canvas.inside(torch.where(y > top, 1.0, pine)))
    return mix(colour, rgb(0.26, 0.46, 0.18, like=x), canvas.inside(y + 0.11))


def _sunset(canvas: Canvas, x: Tensor, y: Tensor, k: int) -> Tensor:
    sky = mix(rgb(1.0, 0.74, 0.30, like=x), rgb(0.62, 0.22, 0.36, like=x), step(-0.02, 0.24, y))
    sky = mix(sky, rgb(1.0, 0.95, 0.68, like=x), canvas.inside(torch.hypot(x, y - 0.02) - 0.055, 0.01))
    path = torch.exp(-((x / 0.045) ** 2)) * (0.5 + 0.5 * torch.sin(y * 160))
    water = mix(rgb(0.42, 0.16, 0.34, like=x), rgb(1.0, 0.80, 0.42, like=x), path)
    return mix(sky, water, canvas.inside(y + 0.02))


def _empty(canvas: Canvas, x: Tensor, y: Tensor, k: int) -> Tensor:
    """Paint clear glass: what is behind it, a little lighter."""
    return canvas.image * 0.85 + 0.10
