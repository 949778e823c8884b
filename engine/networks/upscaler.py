"""The generator of ESRGAN, which enlarges pictures (Wang et al. 2018, arXiv 1809.00219), over its weights by name.

Real-ESRGAN's variants that enlarge by less fold neighbouring pixels into channels first (2021, arXiv 2107.10833).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, leaky_relu, pad, pixel_unshuffle

from engine.networks.steps import Steps, in_slices, in_strips

_SHARE = 0.2
"""Of what a block adds to what it was given, and the slope of the activation below 0."""


class Upscaler:
    """Enlarges pictures by ``factor``. The weights have the names that ``engine.checkpoint.upscaler`` gives them."""

    def __init__(self, weights: Mapping[str, Tensor], *, blocks: int, enlargements: int, folded: int) -> None:
        self._weights = weights
        self._blocks = blocks
        self._enlargements = enlargements
        self._folded = folded
        self.factor = int(2**enlargements) // folded
        """By which both sides are multiplied."""
        self.features: int = weights["conv_first.weight"].shape[0]

    def peak_bytes(self, width: int, height: int) -> int:
        """About what enlarging a picture of ``width`` × ``height`` pixels takes beside the weights."""
        pixels = width * height / self._folded**2
        return int(4 * pixels * max(7, 3 * 4**self._enlargements) * self.features)

    @torch.inference_mode()
    def __call__(self, picture: Tensor) -> Generator[None, None, Tensor]:
        """(1, 3, h, w), 0 … 1 → (1, 3, h · factor, w · factor), nominally 0 … 1. Yields where others may get their
        turn."""
        return (yield from in_slices(self._steps(picture), picture.device))

    def _steps(self, picture: Tensor) -> Steps:
        height, width = picture.shape[2:]
        if self._folded > 1:
            below, right = -height % self._folded, -width % self._folded
            mode = "reflect" if below < height and right < width else "replicate"
            picture = pixel_unshuffle(pad(picture, (0, right, 0, below), mode=mode), self._folded)
        first = x = yield from self._convolve(picture, "conv_first")
        for number in range(self._blocks):
            x = yield from self._block(x, f"body.{number}")
        x = first + (yield from self._convolve(x, "conv_body"))
        for number in range(self._enlargements):
            x = interpolate(x, scale_factor=2.0, mode="nearest")
            x = leaky_relu((yield from self._convolve(x, f"conv_up{number + 1}")), _SHARE)
        x = leaky_relu((yield from self._convolve(x, "conv_hr")), _SHARE)
        x = yield from self._convolve(x, "conv_last")
        return x[:, :, : height * self.factor, : width * self.factor]

    def _block(self, x: Tensor, name: str) -> Steps:
        """A residual block of three densely connected ones."""
        y = x
        for part in (1, 2, 3):
            parts = [y]
            for layer in range(1, 5):
                made = yield from self._convolve(torch.cat(parts, 1), f"{name}.rdb{part}.conv{layer}")
                parts.append(leaky_relu(made, _SHARE))
            y = y + _SHARE * (yield from self._convolve(torch.cat(parts, 1), f"{name}.rdb{part}.conv5"))
        return x + _SHARE * y

    def _convolve(self, x: Tensor, name: str) -> Steps:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        work = x.shape[0] * x.shape[2] * x.shape[3] * weight.numel()
        return in_strips(lambda part: conv2d(part, weight, bias, padding=1), x, work)
