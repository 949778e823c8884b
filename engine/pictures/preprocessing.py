"""Pictures → what ControlNets and T2I-adapters were trained to follow, without a network.

The definitions are those that ``comfyui_controlnet_aux`` and its forerunners gave their preprocessors. Everything here
is of bytes (0 … 255) in float32, (B, 3, h, w) → (B, 1 or 3, h, w). What takes long is a generator, which yields where
others may have their turn. Knows no nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from engine.pictures.filters import GREY, by_area, doubled, gaussian

_WHITE = 255.0
_LIGHT = 127
"""The least value of a light pixel, for a scribble: what is darker in any colour is a line."""

_FINE, _COARSE = 0.5, 5.0
"""The Gaussians whose difference is a scribble's."""

_LEAST_CONTRAST = 16.0
_USUAL_CONTRAST = 127.0
_BLOCK = 64
"""Pixels that one colour covers each way."""


def scribble(pictures: Tensor) -> Tensor:
    """Return white where a picture is light in all of its colours, black where it has lines."""
    return _WHITE * (pictures.amin(1, keepdim=True) >= _LIGHT)


def scribble_of_differences(pictures: Tensor, threshold: int) -> Generator[None, None, Tensor]:
    """Return white lines where a picture is darker than around, by a difference of Gaussians (Winnemöller 2011)."""
    darkest = yield from _least_of_colours(lambda one: gaussian(one, _COARSE) - gaussian(one, _FINE), pictures)
    lightness = (_WHITE - darkest).clamp(0, _WHITE).floor()
    return _WHITE * (2 * (_WHITE - lightness) > threshold)


def binary(pictures: Tensor, threshold: int) -> Tensor:
    """Return white where the grey of a picture is above ``threshold``; 0 and 255: above Otsu's threshold of its own."""
    grey = grey_of(pictures)
    if threshold not in (0, int(_WHITE)):
        return _WHITE * (grey > threshold)
    own = [otsu(each) for each in grey]
    return _WHITE * (grey > grey.new_tensor(own)[:, None, None, None])


def otsu(grey: Tensor) -> float:
    """Return the grey up to which pixels are one of the two classes that differ most (Otsu 1979)."""
    counts = torch.bincount(grey.flatten().long(), minlength=256).double()
    values = torch.arange(256, dtype=torch.float64, device=grey.device)
    dark, dark_sum = counts.cumsum(0), (counts * values).cumsum(0)
    light, light_sum = dark[-1] - dark, dark_sum[-1] - dark_sum
    apart = dark * light * (dark_sum / dark.clamp(min=1) - light_sum / light.clamp(min=1)) ** 2
    return float(apart.argmax())


def lines(pictures: Tensor, sigma: float, threshold: int) -> Generator[None, None, Tensor]:
    """Return white where a picture is darker than what is around it within ``sigma`` pixels, the stronger lines of
    those above ``threshold`` the whiter."""
    least = yield from _least_of_colours(lambda one: gaussian(one, sigma) - one, pictures)
    darker = least.clamp(0, _WHITE)
    usual = [_median(each[each > threshold]) for each in darker]
    contrast = darker.new_tensor(usual).clamp(min=_LEAST_CONTRAST)[:, None, None, None]
    return (darker / contrast * _USUAL_CONTRAST).clamp(0, _WHITE).floor()


def _least_of_colours(measure: Callable[[Tensor], Tensor], pictures: Tensor) -> Generator[None, None, Tensor]:
    """The least of what ``measure`` finds in each colour, (B, 1, h, w)."""
    first, *others = pictures.split(1, dim=1)
    least = measure(first)
    for colour in others:
        yield
        least = torch.minimum(least, measure(colour))
    yield
    return least


def _median(values: Tensor) -> float:
    if not len(values):
        return 0.0
    ordered, middle = values.sort().values, (len(values) - 1) / 2
    return float((ordered[math.floor(middle)] + ordered[math.ceil(middle)]) / 2)


def colours(pictures: Tensor) -> Tensor:
    """Return a picture's colours in blocks of 64 × 64 pixels."""
    height, width = pictures.shape[2:]
    few = max(1, height // _BLOCK), max(1, width // _BLOCK)
    small = interpolate(pictures, size=few, mode="bicubic").round().clamp(0, _WHITE)
    return interpolate(small, size=(height, width), mode="nearest")


def tile(pictures: Tensor, height: int, width: int, halvings: int) -> Tensor:
    """Return pictures of ``height`` × ``width``, multiples of 2 ** ``halvings``, without the detail that so many
    halvings of their sides lose."""
    small = by_area(pictures, height >> halvings, width >> halvings).round()
    for _ in range(halvings):
        small = (doubled(small) + 0.5).floor().clamp(0, _WHITE)
    return small


def intensity(pictures: Tensor, gamma: float) -> Tensor:
    """Return the strongest colour of each pixel, to the power of ``gamma``."""
    return _gamma(pictures.amax(1, keepdim=True), gamma)


def luminance(pictures: Tensor, gamma: float) -> Tensor:
    """Return the lightness L* of each pixel (CIE 1976), to the power of ``gamma``.

    As in the preprocessor of this name, which reads red as blue.
    """
    linear = torch.where(
        pictures > 0.04045 * _WHITE, ((pictures / _WHITE + 0.055) / 1.055) ** 2.4, pictures / _WHITE / 12.92
    )
    blue, green, red = linear.split(1, dim=1)
    y = 0.212671 * red + 0.715160 * green + 0.072169 * blue
    lightness = torch.where(y > 216 / 24389, 116 * y ** (1 / 3) - 16, y * 24389 / 27)
    return _gamma((lightness * _WHITE / 100).round(), gamma)


LIGHTNESS: Mapping[str, Callable[[Tensor, float], Tensor]] = {"luminance": luminance, "intensity": intensity}
"""The measures by name."""


def _gamma(grey: Tensor, gamma: float) -> Tensor:
    return ((grey / _WHITE) ** gamma * _WHITE).clamp(0, _WHITE).floor()


def grey_of(pictures: Tensor) -> Tensor:
    """Return the grey of each pixel, (B, 1, h, w), rounded."""
    return (pictures * pictures.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True).round()
