"""The flat request → its workflow. The node ids are those of the workflow that ComfyUI comes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import BadRequest
from engine.workflow.latents import EmptyLatents
from engine.workflow.models import Checkpoint, Clip, LastLayer
from engine.workflow.node import Node
from engine.workflow.pictures import Decode, SavePictures
from engine.workflow.sampling import CfgGuider, RandomNoise, Sample, Sampler, ScheduledSigmas
from engine.workflow.text import EncodeText
from engine.workflow.workflow import Place, Workflow

if TYPE_CHECKING:
    from engine.request import GenerationRequest

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
    positive = EncodeText(clip=clip, text=request.prompt)
    negative = EncodeText(clip=clip, text=request.negative_prompt)
    empty = EmptyLatents(width=request.width, height=request.height, batch_size=request.batch_size)
    sample = Sample(
        guider=CfgGuider(model=checkpoint, positive=positive, negative=negative, cfg_scale=request.cfg_scale),
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
    places |= {("5", 0): empty, ("6", 0): positive, ("7", 0): negative, ("3", 0): sample, ("8", 0): pictures}
    return Workflow(outputs={PICTURES: SavePictures(pictures=pictures)}, places=places)


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
    field = _FIELDS.get((workflow.ids.get(error.node, ""), error.field), error.field)
    return "steps" if field == "sigmas" else field
