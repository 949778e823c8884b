"""What an inpainting network is shown beside x in a sampling, where its model is one."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from engine.batching.inpainting import noise_mask_for, with_channels
from engine.batching.members import Conditioning
from engine.pictures.decoder import PIXELS_PER_CELL, SCALE
from engine.running.functions.registry import Bench, LatentBatch, Wish
from engine.running.functions.vae import encoded
from engine.running.model import Network


def mask_of(latents: LatentBatch) -> Tensor | None:
    """Return where ``latents`` are painted anew, (B, 1, h, w); None: everywhere."""
    return None if latents.noise_mask is None else noise_mask_for(latents.noise_mask, latents.samples.shape)


def shown_beside(
    network: Network, prompts: tuple[Conditioning, ...], latents: LatentBatch, bench: Bench
) -> Generator[Wish, Any, tuple[Conditioning, ...]]:
    """Return ``prompts`` with the channels that ``network`` takes beside x in a sampling of ``latents``; as they are
    where it takes none."""
    shape = latents.samples.shape
    if network.denoiser.inputs <= shape[1]:
        return prompts
    grey = None
    if network.grey_by is not None:
        pixels = torch.full((1, 3, *(side * PIXELS_PER_CELL for side in shape[2:])), 0.5, device=bench.device)
        grey = SCALE * (yield from encoded(pixels, network.grey_by, None, bench))
    scaled, mask = latents.samples * SCALE, mask_of(latents)
    return tuple(with_channels(prompt, scaled, mask, grey) for prompt in prompts)
