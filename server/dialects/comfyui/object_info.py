"""Describes all nodes with their inputs, ranges and choices, as ``/object_info`` lists them.

All of it is made from the engine's table of classes; this module only adds what this server has, and its limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.formats.comfyui import object_info
from engine.formats.comfyui.object_info import Offer
from engine.formats.comfyui.table import ROWS
from engine.models.folders import KINDS
from engine.workflow.latents import MAX_SIDE
from server.dialects.comfyui.uploads import names_of
from server.web.services import Services

__all__ = ["Offer", "all_nodes", "input_config", "node", "offer_of"]

_NARROWEST = 16
"""The shortest side that a picture can have, in pixels."""

_ABSENT: Mapping[str, str] = {"VAELoader": "vae_name", "UNETLoader": "unet_name", "LoraLoader": "lora_name"}
"""Loaders from which clients read lists, whether they use them or not; here their lists are empty."""


async def offer_of(services: Services, client: str) -> Offer:
    """Return what this server has, the pictures that ``client`` handed in among it, and its limits. A side may be as
    long as the most pixels allow at the narrowest other side."""
    settings = services.settings
    files: dict[str, list[str]] = {kind: [file.name for file in services.backend.files(kind)] for kind in KINDS}
    side = min(MAX_SIDE, settings.max_pixels // _NARROWEST // 8 * 8)
    return Offer(
        files={**files, "input": await names_of(services, client)},
        most={"width": side, "height": side, "steps": settings.max_steps, "batch_size": settings.max_pictures},
    )


def all_nodes(offer: Offer) -> dict[str, Any]:
    """Return the signature of every class."""
    return {**object_info.object_info(offer), **{name: _absent(name) for name in _ABSENT if name not in ROWS}}


def node(name: str, offer: Offer) -> dict[str, Any] | None:
    """Return a class's signature; None for one that is not known."""
    if name in ROWS:
        return None if ROWS[name].is_virtual else object_info.described(ROWS[name], offer)
    return _absent(name) if name in _ABSENT else None


def input_config(class_type: str, name: str, offer: Offer) -> list[Any] | None:
    """Return what an input takes: ``[type or choices, range]``; None for an input that the class does not have."""
    row = ROWS.get(class_type)
    if row is None or name not in row.inputs:
        return None
    return object_info.input_config(row.inputs[name], offer)


def _absent(name: str) -> dict[str, Any]:
    return object_info.signature(
        name,
        inputs={"required": {_ABSENT[name]: [[], {}]}},
        display_name=name,
        category="loaders",
        description="Not carried out here; listed, with nothing to choose from, for clients that read its list.",
    )
