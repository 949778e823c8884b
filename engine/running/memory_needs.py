"""Whether a workflow fits into the memory that is free. Knows what networks take; knows nothing of other workflows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from engine.device.memory import free_bytes, release_cached
from engine.errors import BadRequest
from engine.running.model import Model
from engine.workflow import models as nodes
from engine.workflow.latents import MAX_SIDE, EmptyLatents, Latents
from engine.workflow.needs import PIXELS_PER_CELL, Size, needs_of
from engine.workflow.node import Node
from engine.workflow.pictures import Decode
from engine.workflow.sampling import Sample
from engine.workflow.workflow import Workflow

if TYPE_CHECKING:
    from engine.batching.denoiser import Denoiser
    from engine.pictures.decoder import Decoder

_LATENTS_AT_WORK = 12
"""About how many tensors of x's size a sampler holds at most."""


@dataclass(frozen=True)
class _Peak:
    """What the node that takes most takes, in bytes, about."""

    node: Node
    size: Size
    call: int
    """For one network call."""
    picture: int
    """For each picture, all the time."""

    @property
    def whole(self) -> int:
        return self.call + self.size.pictures * self.picture


def has_room(resident: Mapping[Node, Any], workflow: Workflow, device: torch.device) -> bool:
    """Whether the workflow fits into the memory that is free now."""
    return _peak(resident, workflow).whole <= free_bytes(device)


def check_room(resident: Mapping[Node, Any], workflow: Workflow, device: torch.device) -> None:
    """Raise ``BadRequest`` for a workflow that does not fit into the memory that is free now.

    What the networks hold only to be fast is given back first where it is in the way.
    """
    peak = _peak(resident, workflow)
    if peak.whole > free_bytes(device):
        for thing in resident.values():
            if isinstance(thing, Model):
                thing.decoder.release()
        release_cached(device)
    free = free_bytes(device)
    width, height = peak.size.pixels
    if peak.call > free:
        most = int((width * height * free / peak.call) ** 0.5) // 8 * 8
        allowed = f"with height {height}, a size that fits into {free / 2**30:.1f} GiB of memory"
        allowed = f"{allowed}, such as {most} × {most}" if most >= 16 else allowed
        raise BadRequest("width", width, allowed, node=_origin(peak.node))
    if peak.whole > free:
        allowed = (
            f"at most {(free - peak.call) // peak.picture} pictures of this size in {free / 2**30:.1f} GiB of memory"
        )
        raise BadRequest("batch_size", peak.size.pictures, allowed, node=_origin(peak.node))


def largest_side(model: Model, device: torch.device) -> int:
    """Width and height, in pixels, of the largest square picture that fits into the memory that is free now."""
    known = Size(pictures=1, height=64, width=64)
    call = max(model.decoder.peak_bytes(*known.pixels), model.denoiser.peak_bytes(*known.pixels))
    taken = call + _bytes_of_picture(known)
    side = known.pixels[0] * (free_bytes(device) / taken) ** 0.5  # what it takes grows with its area
    return min(int(side) // PIXELS_PER_CELL * PIXELS_PER_CELL, MAX_SIDE)


def _peak(resident: Mapping[Node, Any], workflow: Workflow) -> _Peak:
    needs = needs_of(workflow)
    peaks = []
    for node, size in needs.sizes.items():
        if isinstance(node, Sample | Decode):
            worker = _worker(node, resident)
            peaks.append(_Peak(node, size, worker.peak_bytes(*size.pixels), _bytes_of_picture(size)))
    return max(peaks, key=lambda peak: peak.whole)


def _bytes_of_picture(size: Size) -> int:
    width, height = size.pixels
    return width * height * (3 + _LATENTS_AT_WORK * 4 * 4 // PIXELS_PER_CELL**2)


def _worker(node: Sample | Decode, resident: Mapping[Node, Any]) -> Denoiser | Decoder:
    """What carries a node out and knows how much memory it takes."""
    if isinstance(node, Decode):
        decoder: Decoder = resident[node.vae].decoder
        return decoder
    model = next(source for source in node.guider.sources() if isinstance(source, nodes.Model))
    denoiser: Denoiser = resident[model].denoiser
    return denoiser


def _origin(node: Node) -> Node:
    """The node that says how large what ``node`` makes is: for an error that names what a caller can change."""
    while True:
        source = next((each for each in node.sources() if isinstance(each, Latents)), None)
        if source is None or isinstance(source, EmptyLatents):
            return source or node
        node = source
