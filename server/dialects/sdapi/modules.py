"""The modules of AUTOMATIC1111's ControlNet extension that need no network → nodes. Knows no call.

What a module does, its sliders and their defaults are those of the extension's preprocessors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.workflow.editing import BlurPictures, InvertPictures, MaskPictures
from engine.workflow.hint_sizes import hint_sides
from engine.workflow.masks import ChannelMask, CombineMasks, Mask, ThresholdMask
from engine.workflow.pictures import Pictures
from engine.workflow.preprocessing import Lightness, LineArt, ScribbleOfDifferences, SharpEdges
from engine.workflow.sizes import PictureSize
from server.dialects.sdapi.pictures import Sized

NONE = "none"
INPAINT = "inpaint"
"""The module whose picture has a hole where its mask says so; the hole is made once the picture has its last size."""

_BLOCK = 64
_LEAST_RATE = 1.1
_SIGMAS_OF_A_BLUR = 3
"""How far OpenCV's Gaussian reaches on pictures of bytes."""


@dataclass(frozen=True, kw_only=True)
class Slider:
    """A number that a module takes."""

    label: str
    least: float
    most: float
    default: float
    step: float = 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a unit says of its module."""

    resolution: int
    """The shorter side of what the module makes, in pixels."""
    a: float
    b: float


@dataclass(frozen=True, kw_only=True)
class Module:
    """What the extension calls a preprocessor."""

    make: Callable[[Sized, Settings], Sized]
    """What it makes of a picture."""
    label: str = ""
    """Its longer name, where it has one."""
    sliders: tuple[Slider, ...] = ()
    """What ``threshold_a`` and ``threshold_b`` are."""


def _as_it_is(picture: Sized, settings: Settings) -> Sized:
    return picture


def _inverted(picture: Sized, settings: Settings) -> Sized:
    made = InvertPictures(pictures=picture.pictures)
    return Sized(pictures=made, width=picture.width, height=picture.height)


def _edges(picture: Sized, settings: Settings) -> Sized:
    low, high = int(settings.a), int(settings.b)
    return _made(SharpEdges, picture, settings.resolution, low_threshold=low, high_threshold=high)


def _scribble(picture: Sized, settings: Settings) -> Sized:
    return _made(ScribbleOfDifferences, picture, settings.resolution, threshold=int(settings.a))


def _lines(picture: Sized, settings: Settings) -> Sized:
    return _made(LineArt, picture, settings.resolution)


def _lightness(measure: str) -> Callable[[Sized, Settings], Sized]:
    """Return a module that keeps a picture's size, whatever the resolution."""

    def make(picture: Sized, settings: Settings) -> Sized:
        own = min(picture.width, picture.height)
        return _made(Lightness, picture, own, measure=measure, gamma=settings.a)

    return make


def _bright(picture: Sized, settings: Settings) -> Sized:
    """Return white where all of a pixel's colours are above the threshold."""
    small = _resampled(picture, settings.resolution)
    value = settings.a / 255
    red, green, blue = (
        ThresholdMask(mask=ChannelMask(pictures=small.pictures, channel=channel), value=value)
        for channel in ("red", "green", "blue")
    )
    both: Mask = CombineMasks(below=red, above=green, operation="and")
    bright = CombineMasks(below=both, above=blue, operation="and")
    return Sized(pictures=MaskPictures(mask=bright), width=small.width, height=small.height)


def _blocks(picture: Sized, settings: Settings) -> Sized:
    """Return a square of blocks, whatever the picture's aspect ratio."""
    few = max(1, settings.resolution // _BLOCK)
    return picture.scaled(few, few, "bicubic").scaled(settings.resolution, settings.resolution, "nearest-exact")


def _smaller(picture: Sized, settings: Settings) -> Sized:
    width, height = (max(1, int(side / settings.a)) for side in (picture.width, picture.height))
    return picture if settings.a < _LEAST_RATE else picture.scaled(width, height, "area")


def _blurred(picture: Sized, settings: Settings) -> Sized:
    small = _resampled(picture, settings.resolution)
    radius = max(1, (round(2 * _SIGMAS_OF_A_BLUR * settings.a + 1) | 1) // 2)
    made = BlurPictures(pictures=small.pictures, radius=radius, sigma=settings.a / radius)
    return Sized(pictures=made, width=small.width, height=small.height)


_GAMMA = Slider(label="Gamma Correction", least=0.1, most=2, default=1, step=0.001)

MODULES: Mapping[str, Module] = {
    NONE: Module(make=_as_it_is),
    "canny": Module(
        make=_edges,
        sliders=(
            Slider(label="Low Threshold", least=0, most=255, default=100),
            Slider(label="High Threshold", least=0, most=255, default=200),
        ),
    ),
    "invert": Module(make=_inverted, label="invert (from white bg & black line)"),
    "threshold": Module(
        make=_bright, sliders=(Slider(label="Binarization Threshold", least=0, most=255, default=127),)
    ),
    "scribble_xdog": Module(make=_scribble, sliders=(Slider(label="XDoG Threshold", least=1, most=64, default=32),)),
    "lineart_standard": Module(make=_lines, label="lineart_standard (from white bg & black line)"),
    "color": Module(make=_blocks, label="t2ia_color_grid"),
    "recolor_luminance": Module(make=_lightness("luminance"), sliders=(_GAMMA,)),
    "recolor_intensity": Module(make=_lightness("intensity"), sliders=(_GAMMA,)),
    "blur_gaussian": Module(make=_blurred, sliders=(Slider(label="Sigma", least=0.1, most=10, default=9, step=0.01),)),
    "tile_resample": Module(
        make=_smaller, sliders=(Slider(label="Down Sampling Rate", least=1, most=8, default=1, step=0.01),)
    ),
    INPAINT: Module(make=_as_it_is, label="inpaint_global_harmonious"),
}
"""The modules by name."""


def module_named(name: object) -> str | None:
    """Return the name in ``MODULES`` of a module that is called so, or by its longer name; None for no such one."""
    text = str(name).strip().casefold()
    return next((each for each, module in MODULES.items() if text in (each, module.label)), None)


def _made(node: Callable[..., Pictures], picture: Sized, resolution: int, **fields: Any) -> Sized:
    made = node(pictures=picture.pictures, resolution=resolution, **fields)
    height, width = hint_sides(made, PictureSize(pictures=1, height=picture.height, width=picture.width))
    return Sized(pictures=made, width=width, height=height)


def _resampled(picture: Sized, resolution: int) -> Sized:
    factor = resolution / min(picture.width, picture.height)
    width, height = round(picture.width * factor), round(picture.height * factor)
    return picture.scaled(width, height, "bicubic" if factor > 1 else "area")
