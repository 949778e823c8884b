"""Paints what is above the horizon: gradients, stars, aurora, galaxy, sun, moon, clouds. Knows no land."""

import torch
from torch import Tensor

from models.starter.canvas import Canvas, glow, mix, rgb, step
from models.starter.noise import lattice, ridge, smooth, uniform

GRADIENTS = {  # zenith, middle, horizon
    "day": ((0.20, 0.48, 0.86), (0.46, 0.71, 0.94), (0.84, 0.92, 0.96)),
    "dawn": ((0.52, 0.55, 0.82), (0.88, 0.66, 0.76), (1.00, 0.84, 0.70)),
    "sunset": ((0.32, 0.20, 0.48), (0.90, 0.38, 0.26), (1.00, 0.74, 0.30)),
    "night": ((0.02, 0.04, 0.16), (0.06, 0.11, 0.30), (0.16, 0.24, 0.46)),
    "aurora": ((0.02, 0.05, 0.15), (0.03, 0.14, 0.24), (0.08, 0.26, 0.32)),
    "galaxy": ((0.06, 0.03, 0.17), (0.17, 0.07, 0.32), (0.36, 0.18, 0.46)),
}


def paint_sky(canvas: Canvas) -> None:
    """Paint the whole picture as sky; the land is painted over it."""
    _gradient(canvas)
    for name, painter in (("aurora", _aurora), ("galaxy", _galaxy)):
        keep = [i for i, scene in enumerate(canvas.scenes) if scene.sky == name]
        if keep:
            part = canvas.rows(keep)
            painter(part)
            canvas.put(keep, part)
    _stars(canvas)
    _light(canvas)
    _clouds(canvas)


def light_position(canvas: Canvas) -> tuple[Tensor, Tensor]:
    """Return where sun or moon stands, (B, 1, 1, 1) each; low at dawn and sunset."""
    low = canvas.flag([float(scene.sky in ("dawn", "sunset")) for scene in canvas.scenes])
    u = uniform(canvas.seeds, "light u", 0.15, 0.85)
    v = mix(uniform(canvas.seeds, "light v", 0.12, 0.26), uniform(canvas.seeds, "light v", 0.34, 0.46), low)
    return u, v


def _gradient(canvas: Canvas) -> None:
    keys = [scene.sky for scene in canvas.scenes]
    zenith, middle, horizon = (canvas.each({k: c[i] for k, c in GRADIENTS.items()}, keys) for i in range(3))
    drift = smooth(canvas.seeds, "sky drift", 3, 2, canvas.size, 2) - 0.5
    height = canvas.v / 0.62 + 0.25 * drift
    colour = mix(mix(zenith, middle, step(0.0, 0.62, height)), horizon, step(0.5, 1.05, height))
    hue = torch.cat([uniform(canvas.seeds, f"sky hue{i}", -0.035, 0.035) for i in range(3)], dim=1)
    canvas.image.copy_((colour + hue).clamp(0, 1))


def _stars(canvas: Canvas) -> None:
    cells = 22
    n = canvas.size
    index = (torch.arange(n, device=canvas.seeds.device) * cells) // n
    at = [lattice(canvas.seeds, f"star {k}", cells, cells)[:, :, index][:, :, :, index] for k in range(3)]
    x = canvas.u * cells - index[None, None, None, :] - 0.25 - 0.5 * at[0]
    y = canvas.v * cells - index[None, None, :, None] - 0.25 - 0.5 * at[1]
    bright = step(0.72, 1.0, at[2]) * canvas.dark() * step(0.62, 0.3, canvas.v)
    canvas.paint(rgb(1.0, 0.97, 0.88, like=canvas.image), glow(x, y, 0.08 + 0.1 * at[2]) * bright * 1.1)


def _aurora(canvas: Canvas) -> None:
    hue = uniform(canvas.seeds, "aurora hue")
    tip = mix(rgb(0.55, 0.25, 0.80, like=hue), rgb(0.20, 0.45, 0.85, like=hue), hue)
    for band in range(2):
        name = f"aurora {band}"
        foot = 0.34 + 0.10 * band + 0.26 * (ridge(canvas.seeds, name, 4, canvas.size) - 0.5)
        rays = 0.55 + 0.45 * ridge(canvas.seeds, name + "rays", 18, canvas.size, octaves=2)
        above = foot - canvas.v
        curtain = step(-0.04, 0.02, above) * torch.exp(-above.clamp(min=0) / 0.17) * rays
        colour = mix(rgb(0.28, 0.95, 0.58, like=hue), tip, above / 0.26)
        canvas.paint(colour, curtain * 0.85)


def _galaxy(canvas: Canvas) -> None:
    seeds, n = canvas.seeds, canvas.size
    tilt = uniform(seeds, "galaxy tilt", -0.9, 0.9)
    cloud = smooth(seeds, "galaxy", 4, 4, n, 4)
    across = canvas.v - 0.27 - tilt * (canvas.u - 0.5) + 0.35 * (cloud - 0.5)
    band = torch.exp(-((across / 0.15) ** 2))
    hue = step(0.35, 0.65, smooth(seeds, "galaxy hue", 3, 3, n, 2))
    colour = mix(rgb(0.86, 0.32, 0.72, like=cloud), rgb(0.34, 0.46, 0.95, like=cloud), hue)
    canvas.paint(colour, band * (0.35 + 0.9 * (cloud - 0.3)))
    canvas.paint(rgb(1.0, 0.88, 0.92, like=cloud), band**3 * step(0.48, 0.85, cloud) * 0.85)


def _light(canvas: Canvas) -> None:
    """Paint sun or moon, with its halo."""
    shown = canvas.flag([float(scene.light != "none") for scene in canvas.scenes])
    moon = canvas.flag([float(scene.light == "moon") for scene in canvas.scenes])
    low = canvas.flag([float(scene.sky in ("dawn", "sunset")) for scene in canvas.scenes])
    u, v = light_position(canvas)
    x, y = canvas.u - u, canvas.v - v
    radius = 0.055 + 0.025 * low + uniform(canvas.seeds, "light size", 0, 0.015)
    sun = mix(rgb(1.0, 0.95, 0.62, like=u), rgb(1.0, 0.86, 0.50, like=u), low)
    colour = mix(sun, rgb(0.96, 0.95, 0.86, like=u), moon)
    canvas.paint(colour, glow(x, y, radius * (3.2 + low)) * 0.55 * shown)
    disc = canvas.inside(torch.hypot(x, y) - radius, 0.012)
    bite = canvas.inside(torch.hypot(x - radius * 0.55, y + radius * 0.25) - radius * 0.9, 0.012)
    crescent = moon * (uniform(canvas.seeds, "crescent") < 0.5)
    canvas.paint(colour, disc * (1 - bite * crescent) * shown)


def _clouds(canvas: Canvas) -> None:
    cloudy = canvas.flag([float(scene.clouds) for scene in canvas.scenes])
    fog = smooth(canvas.seeds, "cloud", 5, 3, canvas.size, 4)
    lit = smooth(canvas.seeds, "cloud", 5, 3, canvas.size, 2)
    cover = step(0.50, 0.66, fog) * step(0.60, 0.40, canvas.v) * step(-0.05, 0.12, canvas.v)
    tint = {
        "day": (0.98, 0.98, 0.97), "dawn": (1.0, 0.82, 0.82), "sunset": (0.98, 0.52, 0.36),
        "night": (0.26, 0.31, 0.48), "aurora": (0.2, 0.3, 0.4), "galaxy": (0.4, 0.3, 0.5),
    }  # fmt: skip
    colour = canvas.each(tint, [scene.sky for scene in canvas.scenes])
    shade = 0.80 + 0.25 * step(0.42, 0.72, lit)
    canvas.paint((colour * shade).clamp(0, 1), cover * cloudy * 0.92)
