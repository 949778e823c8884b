"""Carries out the nodes for ControlNets and T2I-adapters; what is loaded for them is resident."""

from __future__ import annotations

import dataclasses

from engine.batching.controls import Control, Controller
from engine.batching.members import Conditioning
from engine.errors import BadRequest
from engine.running.functions.registry import Bench, PictureBatch, carries_out
from engine.workflow.controls import Controlled
from engine.workflow.node import Node, in_order

_COLOURS = 3


@carries_out(Controlled)
def controlled(node: Controlled, bench: Bench) -> Conditioning:
    members: Conditioning = bench[node.conditioning]
    if node.strength == 0:
        return members
    pictures: PictureBatch = bench[node.pictures]
    control = Control(
        controller=bench[node.network],
        pictures=pictures.pixels[..., :_COLOURS],
        strength=node.strength,
        softly=node.softly,
        start=node.start,
        end=node.end,
    )
    return tuple(
        dataclasses.replace(member, controls=(*member.controls, control), shares_controls=node.shared)
        for member in members
    )


def check_controls(guider: Node, bench: Bench, *, width: int, context: int) -> None:
    """Raise ``BadRequest``, with the node at fault, for a control that is for UNets of another size.

    ``width``: channels of the first level of the UNet; ``context``: features of its tokens.
    """
    for node in in_order(guider):
        controller = bench.resident.get(node.network) if isinstance(node, Controlled) and node.strength else None
        if isinstance(controller, Controller):
            fits = controller.widths[0] == width and controller.context in (0, context)
            if not fits:
                theirs = f"{controller.widths[0]} channels wide"
                allowed = f"one for a UNet that begins {width} channels wide and takes {context} features a token"
                raise BadRequest("network", f"{controller.name}, {theirs}", allowed, node=node)
