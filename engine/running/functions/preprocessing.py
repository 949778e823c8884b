"""Carries out the nodes that make of pictures what networks are steered by."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.pictures.edges import canny
from engine.running.functions.registry import Bench, Course, Pause, PictureBatch, carries_out
from engine.workflow.preprocessing import Edges

_COLOURS = 3


@carries_out(Edges)
def edges(node: Edges, bench: Bench) -> Course:
    pictures: PictureBatch = bench[node.pictures]
    made: list[Tensor] = []
    for one in pictures.pixels[..., :_COLOURS].split(1):
        for found in canny(one.movedim(-1, 1), node.low_threshold, node.high_threshold):
            latest = found
            yield Pause()
        made.append(latest.movedim(1, -1).expand(-1, -1, -1, _COLOURS))
    return PictureBatch(torch.cat(made))
