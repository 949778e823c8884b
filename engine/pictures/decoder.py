"""Latents → pixels, and a cheap preview of them. Owns 0.18215; knows nothing of requests and of PNG."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from engine.networks.graphs import Graphs, Launcher
from engine.networks.steps import Steps, in_slices
from engine.pictures.tiling import Tiles, averaged, three_passes

SCALE = 0.18215
"""What Stable Diffusion 1.x's latents are multiplied by for diffusion, to about unit variance (Rombach et al. 2022)."""

PIXELS_PER_CELL = 8
"""Pixels that one latent cell covers in each direction."""

_FLOATS_PER_PIXEL_AND_CHANNEL = 10
"""Peak memory of a decode over (pixels · base channels), in elements; measured with the full-size decoder."""

_WHOLE, _WHOLE_GRAPH = 128 * 128, 768 * 768
"""Pixels of the largest pictures that are decoded or encoded at once: step by step, and launched as a graph."""

TILES = three_passes(64, 16)
"""The tiles, in cells, of latents for whose decode the memory does not suffice."""


def latents_of(x: Tensor) -> Tensor:
    """Return a sampler's final x as latents of the same shape, as the VAE takes them."""
    return x / SCALE


class VaeFunction(Protocol):
    """What ``Decoder`` and ``Encoder`` need of a network; ``VaeDecoder`` and ``VaeEncoder`` in ``engine.networks`` are
    the real ones."""

    channels: int

    @property
    def dtype(self) -> torch.dtype: ...
    def in_float32(self) -> VaeFunction: ...
    def __call__(self, given: Tensor, /) -> Tensor: ...
    def steps(self, given: Tensor, /) -> Steps: ...


class Decoder:
    """One checkpoint's VAE decoder. Not thread-safe: the device's thread owns it."""

    def __init__(self, network: VaeFunction, launcher: Launcher | None = None) -> None:
        self._network = network
        self._launcher = launcher or Launcher()
        self._graphs = self._launcher.graphs(lambda latents: _finished(_image(network, latents)))
        self._fit: tuple[Tensor, Tensor] | None = None

    @property
    def half(self) -> bool:
        """Whether ``decode`` runs in half precision, where NaN may come of finite latents."""
        return self._network.dtype != torch.float32

    def peak_bytes(self, width: int, height: int) -> int:
        """About what decoding one picture of ``width`` × ``height`` pixels takes beside the weights."""
        per_channel = width * height * _FLOATS_PER_PIXEL_AND_CHANNEL * self._network.dtype.itemsize
        return per_channel * self._network.channels

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents float32 (1, 4, h, w) → picture float32 (8h, 8w, 3), and whether all was finite, bool ().

        Values are clamped to 0 … 1. What is returned is on the device, and holds until the next call: later work on
        the device may read it, if it was launched before that.
        """
        image, finite = self._graphs(latents)
        return image, finite

    def takes_long(self, latents: Tensor) -> bool:
        """Return whether others wait for too long while a picture is decoded at once, so that it is decoded in
        slices."""
        return takes_long(self._graphs, latents.shape[2] * latents.shape[3] * PIXELS_PER_CELL**2)

    @torch.inference_mode()
    def decode_sliced(
        self, latents: Tensor, *, in_float32: bool = False
    ) -> Generator[None, None, tuple[Tensor, Tensor]]:
        """As ``decode``, yielding where others may use the device.

        ``in_float32``: with a copy of the weights in float32 for this once. Halves widen without a loss.
        """
        network = self._network.in_float32() if in_float32 else self._network
        return _finished((yield from _image_in_slices(network, latents)))

    @torch.inference_mode()
    def decode_tiled(
        self, latents: Tensor, passes: tuple[Tiles, ...] = TILES, *, in_float32: bool = False
    ) -> Generator[None, None, tuple[Tensor, Tensor]]:
        """As ``decode``, as the mean of several passes over tiles, in cells. Yields between tiles."""
        network = self._network.in_float32() if in_float32 else self._network
        image = yield from averaged(lambda tile: _image_in_slices(network, tile), latents, passes, PIXELS_PER_CELL)
        return _finished(image)

    def release(self) -> None:
        """Give memory back that this model's networks hold only to be fast."""
        self._launcher.release()

    def preview(self, latents: Tensor) -> Tensor:
        """Latents float32 (1, 4, h, w) → a rough picture, uint8 (h, w, 3) on the same device.

        Each cell goes through one linear map, which is fitted once for each checkpoint to what its own decoder makes of
        smooth random latents.
        """
        if self._fit is None:
            self._fit = self._fitted(latents.device)
        matrix, offset = self._fit
        image = latents[0].permute(1, 2, 0) @ matrix + offset  # (h, w, 3)
        return eight_bits(image.clamp(0, 1))

    @torch.inference_mode()
    def _fitted(self, device: torch.device) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randn(1, 4, 6, 6, generator=generator)
        latents = latents_of(interpolate(coarse, size=(24, 24), mode="bicubic")).to(device)
        image = _image(self._network.in_float32(), latents)
        cells = avg_pool2d(image, PIXELS_PER_CELL)[0].flatten(1).T  # (576, 3)
        inputs = torch.cat([latents[0].flatten(1).T, torch.ones(cells.shape[0], 1, device=device)], dim=1)  # (576, 5)
        solution = torch.linalg.lstsq(inputs.cpu(), cells.cpu()).solution.to(device)  # (5, 3)
        return solution[:4], solution[4]


def takes_long(graphs: Graphs, pixels: int) -> bool:
    """Return whether coding so many pixels is done in slices: launched as a graph it is done sooner, and cannot be
    sliced."""
    return pixels > (_WHOLE_GRAPH if graphs.form == "graph" else _WHOLE)


def _image_in_slices(network: VaeFunction, latents: Tensor) -> Generator[None, None, Tensor]:
    return ((yield from in_slices(network.steps(latents), latents.device)).float() + 1) / 2


def _image(network: VaeFunction, latents: Tensor) -> Tensor:
    """Latents → picture float32 (1, 3, 8h, 8w), nominally 0…1."""
    return (network(latents).float() + 1) / 2


def _finished(image: Tensor) -> tuple[Tensor, Tensor]:
    """Picture (1, 3, h, w) → (h, w, 3), 0 … 1, and whether all was finite."""
    return image.clamp(0, 1)[0].permute(1, 2, 0).contiguous(), torch.isfinite(image).all()


def eight_bits(image: Tensor) -> Tensor:
    """Return a picture of 0 … 1 as uint8, truncated."""
    return (image * 255).to(torch.uint8)
