"""Whether a workflow fits into the memory that is free. Knows what networks take; knows nothing of other workflows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from engine.device.memory import free_bytes, release_cached, total_bytes
from engine.errors import BadRequest
from engine.running.model import WITH_VAE, Model
from engine.workflow import models as nodes
from engine.workflow.a1111 import guiders_of
from engine.workflow.controls import Controlled
from engine.workflow.encoding import Encode, EncodeForInpaint
from engine.workflow.latents import MAX_SIDE, EmptyLatents, Latents
from engine.workflow.needs import Needs
from engine.workflow.node import Node, in_order
from engine.workflow.pictures import Decode, Pictures
from engine.workflow.sampling import Sample
from engine.workflow.sizes import PIXELS_PER_CELL, AnySize, Size
from engine.workflow.upscaling import Upscale

if TYPE_CHECKING:
    from engine.batching.denoiser import Denoiser
    from engine.pictures.decoder import Decoder
    from engine.pictures.encoder import Encoder
    from engine.running.model import Autoencoder

_RESIDUALS = 0.2
"""What a ControlNet's residuals take, row by row and joined for the UNet's call, as a share of what that call takes."""

_LATENTS_AT_WORK = 12
"""About how many tensors of x's size a sampler holds at most."""

_TILE = 768
"""The side of the square that is about as large as the largest of the tiles, with what is being put together."""

_UPSCALER_TILE, _SMALL_UPSCALER_TILE = 512, 128
"""The side of the largest square that an upscaler enlarges at once; the same for want of memory."""

_TILEABLE = (Decode, Encode, EncodeForInpaint, Upscale)
"""The nodes that may run in tiles instead, or in smaller ones."""


@dataclass(frozen=True)
class _Peak:
    """What the node that takes most takes, in bytes, about."""

    node: Node
    size: AnySize
    call: int
    """For one network call."""
    picture: int
    """For each picture, all the time."""

    @property
    def whole(self) -> int:
        return self.call + self.size.pictures * self.picture


def has_room(resident: Mapping[Node, Any], needs: Needs, device: torch.device) -> bool:
    """Return whether the workflow fits into the memory that is free now."""
    return _peak(resident, needs).whole <= free_bytes(device)


def may_have_room(resident: Mapping[Node, Any], needs: Needs, device: torch.device) -> bool:
    """Return whether the workflow might fit, in tiles, if all memory were free: else there is nothing to wait for."""
    tileable = {node for node in needs.sizes if isinstance(node, _TILEABLE)}
    return _peak(resident, needs, tileable).whole <= total_bytes(device)


def check_room(resident: Mapping[Node, Any], needs: Needs, device: torch.device) -> Set[Node]:
    """Return the nodes that must work in tiles, an upscaler in smaller ones, to fit into the memory that is free now.

    What the networks hold only to be fast is given back first where it is in the way. Raises ``BadRequest`` for a
    workflow that does not fit even so.
    """
    peak = _peak(resident, needs)
    if peak.whole > free_bytes(device):
        for thing in resident.values():
            if isinstance(thing, Model) and thing.own_decoder is not None:
                thing.own_decoder.release()
        release_cached(device)
    free = free_bytes(device)
    tiled = {each.node for each in _peaks(resident, needs) if each.whole > free and isinstance(each.node, _TILEABLE)}
    peak = _peak(resident, needs, tiled)
    width, height = peak.size.pixels
    if peak.call + peak.picture > free:
        most = int((width * height * free / (peak.call + peak.picture)) ** 0.5) // 8 * 8
        allowed = f"with height {height}, a size that fits into {free / 2**30:.1f} GiB of memory"
        allowed = f"{allowed}, such as {most} × {most}" if most >= 16 else allowed
        raise BadRequest("width", width, allowed, node=_origin(peak.node))
    if peak.whole > free:
        allowed = (
            f"at most {(free - peak.call) // peak.picture} pictures of this size in {free / 2**30:.1f} GiB of memory"
        )
        raise BadRequest("batch_size", peak.size.pictures, allowed, node=_origin(peak.node))
    return tiled


def largest_side(model: Model, device: torch.device) -> int:
    """Width and height, in pixels, of the largest square picture that fits into the memory that is free now."""
    known = Size(pictures=1, height=64, width=64)
    decoding = 0 if model.own_decoder is None else model.own_decoder.peak_bytes(*known.pixels)
    call = max(decoding, model.denoiser.peak_bytes(*known.pixels))
    taken = call + _bytes_of_picture(known)
    side = known.pixels[0] * (free_bytes(device) / taken) ** 0.5  # what it takes grows with its area
    return min(int(side) // PIXELS_PER_CELL * PIXELS_PER_CELL, MAX_SIDE)


def _peak(resident: Mapping[Node, Any], needs: Needs, tiled: Set[Node] = frozenset()) -> _Peak:
    return max(_peaks(resident, needs, tiled), key=lambda peak: peak.whole, default=_NOTHING)


def _peaks(resident: Mapping[Node, Any], needs: Needs, tiled: Set[Node] = frozenset()) -> Iterator[_Peak]:
    for node, size in needs.sizes.items():
        width, height = size.pixels
        if isinstance(node, Upscale):
            before = needs.sizes[node.pictures].pixels
            tile = (min(_SMALL_UPSCALER_TILE if node in tiled else _UPSCALER_TILE, side) for side in before)
            yield _Peak(node, size, resident[node.upscaler].peak_bytes(*tile), _bytes_of_picture(size))
        elif isinstance(node, (*_TILEABLE, Sample)):
            sides = (min(_TILE, width), min(_TILE, height)) if node in tiled else (width, height)
            call = max(worker.peak_bytes(*sides) for worker in _workers(node, resident))
            if isinstance(node, Sample) and any(isinstance(each, Controlled) for each in in_order(node.guider)):
                call += int(call * _RESIDUALS)
            yield _Peak(node, size, call, _bytes_of_picture(size))
        else:
            yield _Peak(node, size, _bytes_of_picture(size), _bytes_of_picture(size))


def _bytes_of_picture(size: AnySize) -> int:
    width, height = size.pixels
    return width * height * (3 * 4 + _LATENTS_AT_WORK * 4 * 4 // PIXELS_PER_CELL**2)


def _workers(node: Any, resident: Mapping[Node, Any]) -> Sequence[Denoiser | Decoder | Encoder]:
    """What carries a node out, one after the other, and knows how much memory it takes."""
    if isinstance(node, Sample):
        sources = (source for guider in guiders_of(node.guider) for source in guider.sources())
        return [resident[source].denoiser for source in sources if isinstance(source, nodes.Model)]
    autoencoder: Autoencoder | Model = resident[node.vae]
    if isinstance(autoencoder, Model) and autoencoder.own_decoder is None:
        raise BadRequest("name", autoencoder.checkpoint.path.name, WITH_VAE, node=node.vae)
    return [autoencoder.decoder if isinstance(node, Decode) else autoencoder.encoder]


def _origin(node: Node) -> Node:
    """The node that says how large what ``node`` makes is: for an error that names what a caller can change."""
    while True:
        source = next((each for each in node.sources() if isinstance(each, Latents | Pictures)), None)
        if source is None or isinstance(source, EmptyLatents):
            return source or node
        node = source


_NOTHING = _Peak(EmptyLatents(), Size(pictures=0, height=0, width=0), 0, 0)
"""Of a workflow that makes nothing."""
