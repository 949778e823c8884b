"""What a workflow needs and costs, known before it starts: files, sizes, sampling steps, work.

Knows no tensors and no file.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from engine.batching.work import work_of
from engine.errors import BadRequest
from engine.sampling.devices import MOST_CUDA_NUMBERS
from engine.workflow import picture_sizes, sampling
from engine.workflow.a1111 import UniPcSigmas
from engine.workflow.encoding import Encode, EncodeForInpaint, EncodeTiled
from engine.workflow.hint_sizes import HINTS
from engine.workflow.latents import Latents
from engine.workflow.masks import Mask
from engine.workflow.models import Checkpoint
from engine.workflow.node import Node, in_order
from engine.workflow.pictures import Decode, DecodeTiled, Output, Pictures
from engine.workflow.predictions import Outline, outlines_of, work_of_step
from engine.workflow.sampling import Sample
from engine.workflow.sizes import LATENTS, NOTHING_KNOWN, AnySize, Known, Rule, Sizes, size_of_source
from engine.workflow.text import Conditioning
from engine.workflow.upscaling import Upscale
from engine.workflow.weights import Weights, used_weights, weights_of
from engine.workflow.workflow import Workflow

LATENT_CHANNELS = 4

_PREDICTIONS = 2
"""The predictions in a sampling step with guidance. One step of a picture of 512 × 512 is the unit of work."""

_STEPS: Mapping[type[Node], float] = {
    Decode: 1.0,
    DecodeTiled: 4.0,
    Encode: 0.5,
    EncodeForInpaint: 0.5,
    EncodeTiled: 2.0,
    Upscale: 7.0,
}
"""How many sampling steps of the same size take as long as a node, about; for an upscaler, of what it enlarges."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a workflow needs and costs."""

    checkpoints: tuple[str | None, ...]
    """The names of its checkpoints, each once; None is the engine's own."""
    weights: Mapping[Node, Weights]
    """What each of its nodes for a model, text encoder, VAE and the like stands for."""
    used: tuple[Weights, ...]
    """Those that have to be resident, each once."""
    sizes: Mapping[Node, AnySize]
    """Of each node that makes latents, pictures or masks."""
    steps: Mapping[Sample, int]
    """Of each sampling: its steps, about; a few schedules have another number of them than they were asked for."""
    work: float
    """In sampling steps of one picture of 512 × 512 with guidance."""

    def pictures(self, output: Output) -> AnySize:
        """Return how many pictures ``output`` is given, and how large they are."""
        return self.sizes[output.pictures]


@functools.lru_cache(maxsize=256)
def needs_of(workflow: Workflow, known: Known = NOTHING_KNOWN) -> Needs:
    """Return what ``workflow`` needs, with what is ``known`` of its files.

    Raises ``BadRequest``, with the node at fault, for sizes that do not fit together and for pictures that were not
    handed in.
    """
    sizes: dict[Node, AnySize] = {}
    steps: dict[Sample, int] = {}
    outlines: dict[Node, tuple[Outline, ...]] = {}
    work = 0.0
    for node in workflow.nodes:
        if isinstance(node, Conditioning):
            outlines[node] = outlines_of(node, outlines)
        elif isinstance(node, Latents | Pictures | Mask):
            size = sizes[node] = _size_of(node, sizes, known)
            if isinstance(node, Sample):
                _check_noise(node.noise, size)
                steps[node] = steps_of(node.sigmas)
                step = work_of_step(node, outlines, size.height, size.width) / _PREDICTIONS
                work += steps[node] * size.pictures * step
            elif isinstance(node, Upscale):
                work += _STEPS[Upscale] * _share(sizes[node.pictures])
            else:
                work += _STEPS.get(type(node), 0.0) * _share(size)
    weights = weights_of(workflow.nodes)
    return Needs(
        checkpoints=checkpoints_of(workflow),
        weights=weights,
        used=used_weights(workflow.nodes, weights),
        sizes=sizes,
        steps=steps,
        work=work,
    )


def checkpoints_of(workflow: Workflow) -> tuple[str | None, ...]:
    """Return the names of a workflow's checkpoints, each once; None is the engine's own."""
    return tuple(dict.fromkeys(node.name for node in workflow.nodes if isinstance(node, Checkpoint)))


def _check_noise(noise: sampling.Noise, size: AnySize) -> None:
    """Raise ``BadRequest`` for more numbers than a CUDA device draws in an order that all cards share."""
    numbers = int(size.pictures * size.cells * LATENT_CHANNELS)
    for field in ("start_noise", "step_noise"):
        if getattr(noise, field, "cpu") == "cuda" and numbers > MOST_CUDA_NUMBERS:
            allowed = f"cpu for {numbers:,} numbers: of more than {MOST_CUDA_NUMBERS:,} the order depends on the card"
            raise BadRequest(field, "cuda", allowed, node=noise)


def _size_of(node: Node, sizes: Sizes, known: Known) -> AnySize:
    """The size of a node that makes latents, pictures or masks. Raises ``BadRequest``, with the node at fault."""
    try:
        if isinstance(node, picture_sizes.LOADED):
            return picture_sizes.input_size(node, known)
        if isinstance(node, Upscale):
            size: AnySize = picture_sizes.upscaled_size(node, sizes, known)
        else:
            size = _RULES.get(type(node), size_of_source)(node, sizes)
        picture_sizes.check_limits(node, size)
    except BadRequest as error:
        raise BadRequest(error.field, error.value, error.allowed, node=error.node or node) from None
    return size


def steps_of(sigmas: sampling.Sigmas) -> int:
    """Return about how many steps a schedule has: a few have another number of them than they were asked for."""
    counts: dict[Node, int] = {}
    for node in in_order(sigmas):  # not by recursion: schedules are made of schedules, hundreds deep
        if isinstance(node, sampling.Sigmas):
            counts[node] = _steps(node, counts)
    return counts[sigmas]


def _steps(sigmas: sampling.Sigmas, known: Mapping[Node, int]) -> int:
    """The steps of a schedule, about, from those of the schedules that it is made of."""
    match sigmas:
        case sampling.SplitSigmas(sigmas=whole, step=step, part=part):
            first = min(step, known[whole])
            return first if part == "high" else known[whole] - first
        case sampling.SplitSigmasDenoise(sigmas=whole, denoise=denoise, part=part):
            last = round(known[whole] * denoise)
            return last if part == "low" else known[whole] - last
        case sampling.SplitSigmasAtShare(sigmas=whole, share=share, part=part):
            first = round(known[whole] * share)
            return first if part == "high" else known[whole] - first
        case sampling.FlipSigmas(sigmas=whole) | sampling.FirstSigma(sigmas=whole):
            return known[whole]
        case sampling.CutSigmas(sigmas=whole, start=start, end=end):
            return max(0, min(end, known[whole]) - start)
        case (
            sampling.ScheduledSigmas(steps=steps, denoise=denoise) | sampling.BasicSigmas(steps=steps, denoise=denoise)
        ):
            return steps if denoise > 0 else 0
        case UniPcSigmas(steps=steps, run=run):
            return run or steps
        case _:
            steps = getattr(sigmas, "steps")  # noqa: B009 – every other schedule has it
            assert isinstance(steps, int)
            return steps


def _share(size: AnySize) -> float:
    return size.pictures * work_of(size.cells)


_RULES: Mapping[type[Node], Rule] = {**LATENTS, **picture_sizes.RULES, **HINTS}
