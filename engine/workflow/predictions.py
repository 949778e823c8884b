"""What the predictions of the network in each step of a sampling cost, as far as nodes tell.

Knows no tensors. A conditioning is outlined: how many prompts it has, where each counts, and when.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from engine.batching.windows import Shares, Window
from engine.batching.work import work_of
from engine.errors import BadRequest
from engine.sampling.samplers.table import sampler_named
from engine.workflow import conditioning as nodes
from engine.workflow import patches
from engine.workflow.a1111 import guiders_of
from engine.workflow.composing import ComposedGuider, prompts_of
from engine.workflow.controls import Controlled
from engine.workflow.models import Model
from engine.workflow.node import Node
from engine.workflow.prompting import schedule_of
from engine.workflow.sampling import BasicGuider, CfgGuider, Guider, Sample
from engine.workflow.sizes import PIXELS_PER_CELL
from engine.workflow.text import Conditioning, EncodeA1111Text

MOST_PROMPTS = 256
"""Prompts that one conditioning combines at most, and texts that one prompt has one behind the other."""

_FIRST, _LAST = 0, -1
"""Of a guider's prompts: the positive, and the negative."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What is known beforehand of one prompt of a conditioning."""

    texts: int = 1
    """Encoded texts whose tokens it has, one behind the other."""
    area: nodes.WithArea | nodes.WithAreaShares | None = None
    """The node that says where it counts; None: everywhere, as far as is known."""
    start: float = 0.0
    end: float = 1.0
    controls: float = 0.0
    """The shares of the sampling, added up, for which networks steer it."""
    shares_controls: bool = False
    """Whether they steer other prompts too."""


Outlines: TypeAlias = Mapping[Node, tuple[Outline, ...]]


def outlines_of(node: Conditioning, known: Outlines) -> tuple[Outline, ...]:
    """Return the outlines of the prompts of ``node``, made from those ``known`` of the nodes that it is made from.

    Raises ``BadRequest`` for a text that cannot be read, and for more prompts, or texts in a prompt, than
    ``MOST_PROMPTS``: a few nodes could ask for billions, each doubling the one before.
    """
    match node:
        case EncodeA1111Text():
            schedule_of(node)  # whether it can be read; one of its texts counts at a time
            found: tuple[Outline, ...] = (Outline(),)
        case nodes.CombineConditioning(first=first, second=second):
            found = known[first] + known[second]
            if len(found) > MOST_PROMPTS:
                raise BadRequest("second", f"{len(found)} prompts in all", f"at most {MOST_PROMPTS}", node=node)
        case nodes.ConcatenateConditioning(first=first, second=second):
            behind = known[second][0].texts
            found = tuple(replace(each, texts=each.texts + behind) for each in known[first])
            most = max(each.texts for each in found)
            if most > MOST_PROMPTS:
                raise BadRequest("second", f"{most} texts behind each other", f"at most {MOST_PROMPTS}", node=node)
        case nodes.WithArea(conditioning=source) | nodes.WithAreaShares(conditioning=source):
            found = tuple(replace(each, area=node) for each in known[source])
        case nodes.WithRange(conditioning=source, start=start, end=end):
            found = tuple(replace(each, start=start, end=end) for each in known[source])
        case Controlled(conditioning=source, strength=strength, start=start, end=end, shared=shared):
            added = max(0.0, end - start) if strength else 0.0
            found = known[source] if not strength else tuple(_controlled(each, added, shared) for each in known[source])
        case _:
            found = next((known[source] for source in node.sources() if source in known), (Outline(),))
    return found


def work_of_step(sample: Sample, known: Outlines, height: int, width: int) -> float:
    """Return what the predictions of a step for one picture of ``height`` × ``width`` cells cost on average, about, in
    the unit of ``engine.batching.work``.

    An area counts with its cells, and so does what other prompts are given for the same area. Patches of guidance
    predict the first or the last prompt once more. Each counts as often as the sampler evaluates. Of several guiders
    the dearest counts. Raises ``BadRequest``, with the node at fault, for an area outside the picture, and for a patch
    that needs a negative prompt where there is none.
    """
    return max(_work(sample, guider, known, height, width) for guider in guiders_of(sample.guider))


def _work(sample: Sample, guider: Guider, known: Outlines, height: int, width: int) -> float:
    prompts = _with_shared([known[each] for each in _prompts_of(guider)])
    shares = [_shares(prompt, height, width) for prompt in prompts]
    total = sum(share for prompt in _again(sample, guider) for _, share in shares[prompt])
    for number in range(1 if _alone(sample, guider) else len(prompts)):
        others = itertools.chain.from_iterable(shares[:number] + shares[number + 1 :])
        opposite = {area: share for area, share in others if area is not None}
        own = shares[number]
        total += sum(share for _, share in own)
        total += sum(share for area, share in opposite.items() if area not in {area for area, _ in own})
    return total * sampler_named(sample.sampler.name).evaluations


def _prompts_of(guider: Guider) -> Iterator[Conditioning]:
    """The prompts that ``guider`` is made from, the positive first and the negative last."""
    if isinstance(guider, ComposedGuider):
        yield from (part.conditioning for part in prompts_of(guider.positive))
    yield from (each for each in guider.sources() if isinstance(each, Conditioning))


def _controlled(outline: Outline, added: float, shared: bool) -> Outline:
    return replace(outline, controls=outline.controls + added, shares_controls=shared)


def _with_shared(prompts: Sequence[tuple[Outline, ...]]) -> list[tuple[Outline, ...]]:
    """The prompts with the controls that the first one shares, as ``engine.batching.members`` shares them, about."""
    first, *others = prompts
    shared = max((each.controls for each in first if each.shares_controls and each.area is None), default=0.0)
    return [
        first,
        *(
            tuple(
                replace(each, controls=shared) if shared and not each.controls and each.area is None else each
                for each in prompt
            )
            for prompt in others
        ),
    ]


def area_of(node: nodes.WithArea | nodes.WithAreaShares) -> Window | Shares:
    """Return the area that ``node`` confines prompts to, which may reach beyond the picture."""
    if isinstance(node, nodes.WithAreaShares):
        return Shares(node.y, node.x, node.height, node.width)
    return Window(*(pixels // PIXELS_PER_CELL for pixels in (node.y, node.x, node.height, node.width)))


def _alone(sample: Sample, guider: Guider) -> bool:
    """Whether the first prompt alone is followed: at a scale of 1, unless the sampler or a patch asks for more."""
    unguided = isinstance(guider, CfgGuider) and guider.cfg_scale == 1
    return (
        unguided and not sampler_named(sample.sampler.name).needs_unconditional and _LAST not in _again(sample, guider)
    )


def _again(sample: Sample, guider: Guider) -> list[int]:
    """Which prompts are predicted once more for the model's patches."""
    model = next(source for source in guider.sources() if isinstance(source, Model))
    again: list[int] = []
    for node in patches.chain_of(model):
        if isinstance(node, patches.PerturbedAttention) and node.scale > 0:
            again.append(_FIRST)
        elif isinstance(node, patches.SelfAttention):
            if isinstance(guider, BasicGuider):
                allowed = "a guider with a negative prompt, which the model's self-attention guidance needs"
                raise BadRequest("guider", "BasicGuider", allowed, node=sample)
            again.append(_LAST)
    return again


def _shares(prompt: Sequence[Outline], height: int, width: int) -> list[tuple[Window | None, float]]:
    """The area of each prompt, in cells, and what its predictions cost a step on average."""
    found: list[tuple[Window | None, float]] = []
    for each in prompt:
        window = None if each.area is None else _window(each.area, height, width)
        cells = height * width if window is None else window.cells
        found.append((window, work_of(cells, each.controls) * max(0.0, each.end - each.start)))
    return found


def _window(node: nodes.WithArea | nodes.WithAreaShares, height: int, width: int) -> Window:
    area = area_of(node)
    window = area.window(height, width) if isinstance(area, Shares) else area
    for field, value, start, side in (("x", node.x, window.left, width), ("y", node.y, window.top, height)):
        if start >= side:
            picture = f"{width * PIXELS_PER_CELL} × {height * PIXELS_PER_CELL} pixels"
            raise BadRequest(field, value, f"an area that begins within the picture of {picture}", node=node)
    return window.cut(height, width)
