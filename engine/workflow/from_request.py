"""The flat request → its workflow. The node ids are those of the workflow that ComfyUI comes with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.errors import BadRequest
from engine.workflow.conditioning import CombineConditioning, WithArea
from engine.workflow.latents import EmptyLatents
from engine.workflow.models import Checkpoint, Clip, LastLayer
from engine.workflow.node import Node
from engine.workflow.pictures import Decode, SavePictures
from engine.workflow.sampling import CfgGuider, RandomNoise, Sample, Sampler, ScheduledSigmas
from engine.workflow.text import Conditioning, EncodeText
from engine.workflow.workflow import Place, Workflow

if TYPE_CHECKING:
    from engine.request import GenerationRequest
    from engine.request_parts import Region

PICTURES = "9"
"""The id of the one output."""


def workflow_of(request: GenerationRequest) -> Workflow:
    """The workflow of ``request``, whose one output has the id ``PICTURES``. Raises ``BadRequest`` without a seed."""
    if request.seed is None:
        raise BadRequest("seed", None, "a seed that has been drawn: request.with_seed()")
    checkpoint = Checkpoint(name=request.model)
    places: dict[Place, Node] = {("4", slot): checkpoint for slot in range(3)}
    clip: Clip = checkpoint
    if request.clip_skip > 1:
        places["10", 0] = clip = LastLayer(clip=checkpoint, layer=-request.clip_skip)
    prompt = EncodeText(clip=clip, text=request.prompt)
    negative = EncodeText(clip=clip, text=request.negative_prompt)
    empty = EmptyLatents(width=request.width, height=request.height, batch_size=request.batch_size)
    sample = Sample(
        guider=CfgGuider(
            model=checkpoint,
            positive=_with_regions(prompt, request.regions, clip, places),
            negative=negative,
            cfg_scale=request.cfg_scale,
        ),
        sampler=Sampler(name=request.sampler),
        sigmas=ScheduledSigmas(
            model=checkpoint,
            sampler=request.sampler,
            scheduler=request.scheduler,
            steps=request.steps,
            denoise=request.denoise,
        ),
        noise=RandomNoise(seed=request.seed, start_noise=request.start_noise, step_noise=request.step_noise),
        latents=empty,
    )
    pictures = Decode(latents=sample, vae=checkpoint)
    places |= {("5", 0): empty, ("6", 0): prompt, ("7", 0): negative, ("3", 0): sample, ("8", 0): pictures}
    return Workflow(outputs={PICTURES: SavePictures(pictures=pictures)}, places=places)


def _with_regions(
    prompt: Conditioning, regions: Sequence[Region], clip: Clip, places: dict[Place, Node]
) -> Conditioning:
    """``prompt`` for the whole picture, and the prompts of regions beside it."""
    for number, region in enumerate(regions):
        text = EncodeText(clip=clip, text=region.prompt)
        area = WithArea(
            conditioning=text,
            width=region.width,
            height=region.height,
            x=region.x,
            y=region.y,
            strength=region.strength,
        )
        prompt = CombineConditioning(first=prompt, second=area)
        first = _REGIONS + _NODES_OF_REGION * number
        places |= {(str(first), 0): text, (str(first + 1), 0): area, (str(first + 2), 0): prompt}
    return prompt


_REGIONS = 1000
"""The id of the first region's first node."""

_NODES_OF_REGION = 10
"""How far the ids of one region's nodes are from the next one's."""

_FIELDS = {
    ("6", "text"): "prompt",
    ("7", "text"): "negative_prompt",
    ("10", "layer"): "clip_skip",
    ("4", "name"): "model",
}


def field_of(workflow: Workflow, error: BadRequest) -> str:
    """The request's field that ``error`` is about, for an error about a node of the request's workflow."""
    if error.node is None:
        return error.field
    identity = workflow.ids.get(error.node, "")
    if identity.isdigit() and int(identity) >= _REGIONS:
        number = (int(identity) - _REGIONS) // _NODES_OF_REGION
        return f"regions[{number}].{'prompt' if error.field == 'text' else error.field}"
    field = _FIELDS.get((identity, error.field), error.field)
    return "steps" if field == "sigmas" else field
