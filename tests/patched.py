"""Workflows for tests whose model is changed by patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.workflow.latents import EmptyLatents
from engine.workflow.models import Checkpoint, Model
from engine.workflow.pictures import Decode, SavePictures
from engine.workflow.sampling import CfgGuider, Guider, RandomNoise, Sample, Sampler, ScheduledSigmas
from engine.workflow.text import Conditioning, EncodeText
from engine.workflow.workflow import Workflow

Patch = Callable[[Model], Model]
Guide = Callable[[Model, Conditioning, Conditioning], Guider]
"""Model, positive and negative prompt → a guider."""


def patched(
    *patches: Patch,
    seed: int = 7,
    steps: int = 3,
    cfg_scale: float = 5.0,
    sampler: str = "euler",
    scheduler: str = "karras",
    width: int = 64,
    height: int = 64,
    batch_size: int = 1,
    prompt: str = "a boat",
    guide: Guide | None = None,
) -> Workflow:
    """A small request's workflow, its model changed by ``patches``, one after the other."""
    checkpoint = Checkpoint(name="tiny")
    model: Any = checkpoint
    for patch in patches:
        model = patch(model)
    positive, negative = EncodeText(clip=checkpoint, text=prompt), EncodeText(clip=checkpoint, text="night")
    plain = CfgGuider(model=model, positive=positive, negative=negative, cfg_scale=cfg_scale)
    sample = Sample(
        guider=plain if guide is None else guide(model, positive, negative),
        sampler=Sampler(name=sampler),
        sigmas=ScheduledSigmas(model=model, sampler=sampler, scheduler=scheduler, steps=steps),
        noise=RandomNoise(seed=seed),
        latents=EmptyLatents(width=width, height=height, batch_size=batch_size),
    )
    pictures = Decode(latents=sample, vae=checkpoint)
    return Workflow(outputs={"9": SavePictures(pictures=pictures)})
