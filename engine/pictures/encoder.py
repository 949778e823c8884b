"""Pixels → latents. Knows nothing of requests and of files."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from engine.networks.graphs import Launcher
from engine.networks.steps import in_slices
from engine.pictures.decoder import PIXELS_PER_CELL, VaeFunction, takes_long
from engine.pictures.tiling import Tiles, averaged, three_passes

_FLOATS_PER_PIXEL_AND_CHANNEL = 6
"""Peak memory of an encode over (pixels · base channels), in elements; measured with the full-size encoder."""

TILES = three_passes(512, 64)
"""The tiles, in pixels, of pictures for whose encoding the memory does not suffice."""


class Encoder:
    """One VAE's encoder. Not thread-safe: the device's thread owns it."""

    def __init__(self, network: VaeFunction, launcher: Launcher | None = None) -> None:
        self._network = network
        self._launcher = launcher or Launcher()
        self._graphs = self._launcher.graphs(lambda pictures: _finished(_latents(network, pictures)))

    @property
    def half(self) -> bool:
        """Whether ``encode`` runs in half precision, where NaN may come of finite pixels."""
        return self._network.dtype != torch.float32

    def peak_bytes(self, width: int, height: int) -> int:
        """About what encoding one picture of ``width`` × ``height`` pixels takes beside the weights."""
        per_channel = width * height * _FLOATS_PER_PIXEL_AND_CHANNEL * self._network.dtype.itemsize
        return per_channel * self._network.channels

    @torch.inference_mode()
    def encode(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Picture float32 (1, 3, 8h, 8w), 0 … 1 → latents float32 (1, 4, h, w), and whether all are finite, bool ().

        The latents are the mean of the posterior, as the VAE gives it. What is returned holds until the next call.
        """
        latents, finite = self._graphs(picture)
        return latents, finite

    def takes_long(self, picture: Tensor) -> bool:
        """Return whether others wait for too long while ``picture`` is encoded at once, so that it is encoded in
        slices."""
        return takes_long(self._graphs, picture.shape[2] * picture.shape[3])

    @torch.inference_mode()
    def encode_sliced(
        self, picture: Tensor, *, in_float32: bool = False
    ) -> Generator[None, None, tuple[Tensor, Tensor]]:
        """As ``encode``, yielding where others may use the device.

        ``in_float32``: with a copy of the weights in float32 for this once. Halves widen without a loss.
        """
        network = self._network.in_float32() if in_float32 else self._network
        return _finished((yield from _latents_in_slices(network, picture)))

    @torch.inference_mode()
    def encode_tiled(
        self, picture: Tensor, passes: tuple[Tiles, ...] = TILES, *, in_float32: bool = False
    ) -> Generator[None, None, tuple[Tensor, Tensor]]:
        """As ``encode``, as the mean of several passes over tiles, in pixels. Yields between tiles."""
        network = self._network.in_float32() if in_float32 else self._network
        latents = yield from averaged(
            lambda tile: _latents_in_slices(network, tile), picture, passes, 1 / PIXELS_PER_CELL
        )
        return _finished(latents)

    def release(self) -> None:
        """Give memory back that is held only to be fast."""
        self._launcher.release()


def in_cells(pictures: Tensor) -> Tensor:
    """Pictures or masks (B, C, h, w) → their middle, with sides that are multiples of 8."""
    height, width = pictures.shape[2:]
    top, left = height % PIXELS_PER_CELL // 2, width % PIXELS_PER_CELL // 2
    bottom, right = top + height // PIXELS_PER_CELL * PIXELS_PER_CELL, left + width // PIXELS_PER_CELL * PIXELS_PER_CELL
    return pictures[:, :, top:bottom, left:right]


def _latents_in_slices(network: VaeFunction, pictures: Tensor) -> Generator[None, None, Tensor]:
    return (yield from in_slices(network.steps(pictures * 2 - 1), pictures.device)).float()


def _latents(network: VaeFunction, pictures: Tensor) -> Tensor:
    return network(pictures * 2 - 1).float()


def _finished(latents: Tensor) -> tuple[Tensor, Tensor]:
    return latents, torch.isfinite(latents).all()
