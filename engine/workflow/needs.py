"""What a workflow needs and costs, known before it starts: files, sizes, sampling steps, work.

Knows no tensors and no file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import BadRequest
from engine.sampling.devices import MOST_CUDA_NUMBERS
from engine.workflow import latents as kinds
from engine.workflow import sampling
from engine.workflow.latents import Latents
from engine.workflow.models import Checkpoint
from engine.workflow.node import Node
from engine.workflow.pictures import Decode, Output
from engine.workflow.predictions import Outline, outlines_of, predictions_of
from engine.workflow.sampling import Sample
from engine.workflow.text import Conditioning
from engine.workflow.weights import Weights, used_weights, weights_of
from engine.workflow.workflow import Workflow

PIXELS_PER_CELL = 8
"""Pixels that one latent cell covers each way."""

LATENT_CHANNELS = 4

_CELLS = 64 * 64
"""Of a picture of 512 × 512, whose sampling step is the unit of work."""

_DECODE_STEPS = 1.0
"""Steps whose work a decode of the same size is, about."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of a batch of latents."""

    pictures: int
    height: int
    """In cells."""
    width: int
    """In cells."""

    @property
    def cells(self) -> int:
        """Of one picture."""
        return self.height * self.width

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height of a picture in pixels."""
        return self.width * PIXELS_PER_CELL, self.height * PIXELS_PER_CELL


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a workflow needs and costs."""

    checkpoints: tuple[str | None, ...]
    """The names of its checkpoints, each once; None is the engine's own."""
    weights: Mapping[Node, Weights]
    """What each of its nodes for a model, text encoder, VAE and the like stands for."""
    used: tuple[Weights, ...]
    """Those that have to be resident, each once."""
    sizes: Mapping[Node, Size]
    """Of each node that makes latents or pictures."""
    steps: Mapping[Sample, int]
    """Of each sampling: its steps, about; a few schedules have another number of them than they were asked for."""
    work: float
    """In sampling steps of one picture of 512 × 512 with guidance."""

    def pictures(self, output: Output) -> Size:
        """How many pictures ``output`` is given, and how large they are."""
        return self.sizes[output.pictures]


@functools.lru_cache(maxsize=256)
def needs_of(workflow: Workflow) -> Needs:
    """What ``workflow`` needs. Raises ``BadRequest`` for sizes that do not fit together."""
    sizes: dict[Node, Size] = {}
    steps: dict[Sample, int] = {}
    names: dict[str | None, None] = {}
    outlines: dict[Node, tuple[Outline, ...]] = {}
    work = 0.0
    for node in workflow.nodes:
        if isinstance(node, Checkpoint):
            names[node.name] = None
        elif isinstance(node, Conditioning):
            outlines[node] = outlines_of(node, outlines)
        elif isinstance(node, Decode):
            sizes[node] = sizes[node.latents]
            work += _DECODE_STEPS * _share(sizes[node])
        elif isinstance(node, Latents):
            sizes[node] = _SIZES.get(type(node), _size_of_source)(node, sizes)
            if isinstance(node, Sample):
                _check_noise(node.noise, sizes[node])
                steps[node] = steps_of(node.sigmas)
                guided = predictions_of(node, outlines, sizes[node].height, sizes[node].width) / 2
                work += steps[node] * _share(sizes[node]) * guided
    weights = weights_of(workflow.nodes)
    return Needs(
        checkpoints=tuple(names),
        weights=weights,
        used=used_weights(workflow.nodes, weights),
        sizes=sizes,
        steps=steps,
        work=work,
    )


def _check_noise(noise: sampling.Noise, size: Size) -> None:
    """Raise ``BadRequest`` for more numbers than a CUDA device draws in an order that all cards share."""
    numbers = size.pictures * size.cells * LATENT_CHANNELS
    for field in ("start_noise", "step_noise"):
        if getattr(noise, field, "cpu") == "cuda" and numbers > MOST_CUDA_NUMBERS:
            allowed = f"cpu for {numbers:,} numbers: of more than {MOST_CUDA_NUMBERS:,} the order depends on the card"
            raise BadRequest(field, "cuda", allowed, node=noise)


def steps_of(sigmas: sampling.Sigmas) -> int:
    """The steps of a schedule, about."""
    match sigmas:
        case sampling.SplitSigmas(sigmas=whole, step=step, part=part):
            first = min(step, steps_of(whole))
            return first if part == "high" else steps_of(whole) - first
        case sampling.SplitSigmasDenoise(sigmas=whole, denoise=denoise, part=part):
            last = round(steps_of(whole) * denoise)
            return last if part == "low" else steps_of(whole) - last
        case sampling.FlipSigmas(sigmas=whole) | sampling.FirstSigma(sigmas=whole):
            return steps_of(whole)
        case sampling.CutSigmas(sigmas=whole, start=start, end=end):
            return max(0, min(end, steps_of(whole)) - start)
        case (
            sampling.ScheduledSigmas(steps=steps, denoise=denoise) | sampling.BasicSigmas(steps=steps, denoise=denoise)
        ):
            return steps if denoise > 0 else 0
        case _:
            steps = getattr(sigmas, "steps")  # noqa: B009 – every other schedule has it
            assert isinstance(steps, int)
            return steps


def scaled(cells: int, factor: float) -> int:
    """Cells of a side after it is scaled by ``factor``."""
    return max(1, round(cells * factor))


def resized(node: kinds.ResizeLatents, size: Size) -> tuple[int, int]:
    """Height and width in cells after ``node``: at least 8 each; 0 for one side keeps the aspect ratio."""
    width, height = node.width, node.height
    if width == height == 0:
        return size.height, size.width
    if width == 0:
        height = max(64, height)
        width = max(64, round(size.width * height / size.height))
    elif height == 0:
        width = max(64, width)
        height = max(64, round(size.height * width / size.width))
    else:
        width, height = max(64, width), max(64, height)
    return height // PIXELS_PER_CELL, width // PIXELS_PER_CELL


def corner(node: kinds.CropLatents, size: Size) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of a crop, in cells: the corner moves in where fewer than 8 cells would stay."""
    top, left = node.y // PIXELS_PER_CELL, node.x // PIXELS_PER_CELL
    top, left = min(top, max(0, size.height - 8)), min(left, max(0, size.width - 8))
    bottom = min(size.height, top + node.height // PIXELS_PER_CELL)
    right = min(size.width, left + node.width // PIXELS_PER_CELL)
    return top, left, bottom, right


def _share(size: Size) -> float:
    return size.pictures * size.cells / _CELLS


_Sizes = Mapping[Node, Size]


def _size_of_source(node: Any, sizes: _Sizes) -> Size:
    """Of a node that leaves the size of its first source as it is."""
    return next(sizes[source] for source in node.sources() if source in sizes)


def _empty(node: kinds.EmptyLatents, _: _Sizes) -> Size:
    return Size(pictures=node.batch_size, height=node.height // PIXELS_PER_CELL, width=node.width // PIXELS_PER_CELL)


def _repeated(node: kinds.RepeatLatents, sizes: _Sizes) -> Size:
    size = sizes[node.latents]
    return Size(pictures=size.pictures * node.amount, height=size.height, width=size.width)


def _some(node: kinds.LatentsFromBatch, sizes: _Sizes) -> Size:
    size = sizes[node.latents]
    first = min(node.index, size.pictures - 1)
    return Size(pictures=min(node.length, size.pictures - first), height=size.height, width=size.width)


def _joined(node: kinds.JoinLatents, sizes: _Sizes) -> Size:
    first, second = sizes[node.first], sizes[node.second]
    return Size(pictures=first.pictures + second.pictures, height=first.height, width=first.width)


def _resized(node: kinds.ResizeLatents, sizes: _Sizes) -> Size:
    size = sizes[node.latents]
    height, width = resized(node, size)
    return Size(pictures=size.pictures, height=height, width=width)


def _scaled(node: kinds.ScaleLatents, sizes: _Sizes) -> Size:
    size = sizes[node.latents]
    most = kinds.MAX_SIDE // PIXELS_PER_CELL
    height, width = scaled(size.height, node.factor), scaled(size.width, node.factor)
    if max(height, width) > most:
        raise BadRequest("factor", node.factor, f"a factor that leaves a side of at most {kinds.MAX_SIDE} pixels")
    return Size(pictures=size.pictures, height=height, width=width)


def _rotated(node: kinds.RotateLatents, sizes: _Sizes) -> Size:
    size = sizes[node.latents]
    if node.rotation in ("none", "180 degrees"):
        return size
    return Size(pictures=size.pictures, height=size.width, width=size.height)


def _cropped(node: kinds.CropLatents, sizes: _Sizes) -> Size:
    size = sizes[node.latents]
    top, left, bottom, right = corner(node, size)
    return Size(pictures=size.pictures, height=bottom - top, width=right - left)


_SIZES: Mapping[type[Node], Callable[[Any, _Sizes], Size]] = {
    kinds.EmptyLatents: _empty,
    kinds.RepeatLatents: _repeated,
    kinds.LatentsFromBatch: _some,
    kinds.JoinLatents: _joined,
    kinds.ResizeLatents: _resized,
    kinds.ScaleLatents: _scaled,
    kinds.RotateLatents: _rotated,
    kinds.CropLatents: _cropped,
}
"""How the nodes that change a batch's size do so."""
