"""What a model does in idle time, so that the first requests find it prepared: each chore is one bounded piece of work.

Chores record graphs and try larger calls out; no result depends on whether they ran. Knows no requests and no loop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch

from engine.networks.hints import Shape
from engine.running.model import Model
from engine.text.prompt import CHUNK

Chore: TypeAlias = Callable[[Model], None]

CELLS = 64
"""Height and width of the latents of the picture that most ask for, 512 × 512."""


def chores(sizes: Sequence[int], remembered: Sequence[Shape]) -> list[Chore]:
    """Return the chores of a model whose UNet calls may have ``sizes`` rows, rising; what most requests need is first.

    The text encoder, a UNet call and a decode of one picture of 512 × 512, with guidance; then such pictures' larger
    calls, largest first; the same without guidance; then the calls that are ``remembered``. Each is made twice: the
    second call is the one that is recorded, and of a larger exact call the first is the trial.
    """
    falling = (sizes[0], *reversed(sizes[1:]))
    guided = [(rows, max(1, rows // 2), CELLS, CELLS, CHUNK) for rows in falling]
    unguided = [(rows, rows, CELLS, CELLS, CHUNK) for rows in falling]
    shapes = dict.fromkeys((*guided, *unguided, *remembered))
    first, *calls = (functools.partial(_call, shape=shape) for shape in shapes)
    order: list[Chore] = [_encode, first, _decode, *calls]
    return [chore for chore in order for _ in range(2)]


def _encode(model: Model) -> None:
    if model.own_conditioner is not None:
        model.own_conditioner.warm_up()


def _call(model: Model, *, shape: Shape) -> None:
    rows, latents, height, width, tokens = shape
    conditioning = torch.zeros(1, tokens, model.checkpoint.facts.context_width, device=model.checkpoint.device)
    x = torch.zeros(1, model.denoiser.inputs, height, width, device=model.checkpoint.device)
    model.denoiser.warm_up(rows, x, conditioning, paired=latents < rows)


def _decode(model: Model) -> None:
    if model.own_decoder is not None:
        model.own_decoder.decode(torch.zeros(1, 4, CELLS, CELLS, device=model.checkpoint.device))
