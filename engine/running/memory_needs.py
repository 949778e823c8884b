"""Whether a request fits into the memory that is there. Knows what networks take; knows nothing of other requests."""

from __future__ import annotations

import torch

from engine.device.memory import free_bytes, release_cached
from engine.errors import BadRequest
from engine.pictures.decoder import PIXELS_PER_CELL
from engine.request import MAX_SIDE, GenerationRequest
from engine.running.job import Model

_LATENTS_AT_WORK = 12
"""About how many tensors of x's size a sampler holds at most."""


def has_room(model: Model, request: GenerationRequest, device: torch.device) -> bool:
    """Whether the request fits into the memory that is free now."""
    one, picture = _needs(model, request)
    return one + request.batch_size * picture <= free_bytes(device)


def check_room(model: Model, request: GenerationRequest, device: torch.device) -> None:
    """Raise ``BadRequest`` for a request that does not fit into the memory that is free now.

    What the model's networks hold only to be fast is given back first where it is in the way.
    """
    width, height = request.width, request.height
    one, picture = _needs(model, request)
    if not has_room(model, request, device):
        model.decoder.release()
        release_cached(device)
    free = free_bytes(device)
    if one > free:
        most = int((width * height * free / one) ** 0.5) // 8 * 8
        allowed = f"with height {height}, a size that fits into {free / 2**30:.1f} GiB of memory"
        raise BadRequest("width", width, f"{allowed}, such as {most} × {most}" if most >= 16 else allowed)
    if one + request.batch_size * picture > free:
        allowed = f"at most {(free - one) // picture} pictures of this size in {free / 2**30:.1f} GiB of memory"
        raise BadRequest("batch_size", request.batch_size, allowed)


def largest_side(model: Model, device: torch.device) -> int:
    """Width and height, in pixels, of the largest square picture that fits into the memory that is free now."""
    known = GenerationRequest(width=512, height=512)
    side = known.width * (free_bytes(device) / sum(_needs(model, known))) ** 0.5  # what it takes grows with its area
    return min(int(side) // PIXELS_PER_CELL * PIXELS_PER_CELL, MAX_SIDE)


def _needs(model: Model, request: GenerationRequest) -> tuple[int, int]:
    """About the bytes that one network call takes, and those that each picture takes all the time."""
    width, height = request.width, request.height
    one = max(model.decoder.peak_bytes(width, height), model.denoiser.peak_bytes(width, height))
    return one, width * height * (3 + _LATENTS_AT_WORK * 4 * 4 // PIXELS_PER_CELL**2)
