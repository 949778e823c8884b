"""What a caller wants, as flat parameters: each with its default, kind, range and unit.

This is the project's only list of parameters: the command line, the HTTP dialects and their documents are built from
it. This module knows no tensor and no file. Whether a model exists, or a size fits into the memory, is for the modules
that hold them to say.
"""

from __future__ import annotations

import dataclasses
import secrets
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from engine.errors import BadRequest
from engine.parameters import (
    MAX_SEED,
    FileName,
    Many,
    Name,
    Number,
    Object,
    OneOf,
    Optional,
    Seed,
    Text,
    WholeNumber,
    check_fields,
    parameter,
)
from engine.request_a1111 import A1111
from engine.request_parts import Control, Hires, Lora, PromptReading, Region, Upscaling
from engine.sampling import samplers, schedulers
from engine.sampling.devices import NOISE_DEVICES
from engine.workflow.latents import MAX_SIDE
from engine.workflow.pictures import PICTURE_NAME

if TYPE_CHECKING:
    from engine.workflow.workflow import Workflow

__all__ = ["MAX_SEED", "MAX_SIDE", "SAMPLERS", "SCHEDULERS", "GenerationRequest"]

MAX_REGIONS = 64

DRAWN_SEEDS = 2**53 - 2**13
"""Seeds that are drawn are below this: a JavaScript number holds them, and those that are counted on from them."""

PROMPT_SYNTAXES = ("comfyui", "a1111")
"""Whose language prompts are written in."""

MASK_MODES = ("noise", "grey", "inpainting", "soft")
"""How a mask is painted over: as by ComfyUI's ``SetLatentNoiseMask``, ``VAEEncodeForInpaint``,
``InpaintModelConditioning`` and ``DifferentialDiffusion``."""

PARTS = ("loras", "vae", "image", "mask", "controls", "hires", "upscale", "a1111")
"""What makes a request more than a plain one."""

SAMPLERS = tuple(samplers.SAMPLERS)
"""The names of the samplers, as ComfyUI calls them."""

SCHEDULERS = tuple(schedulers.SCHEDULERS)
"""The names of the sigma schedules, as ComfyUI calls them."""


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """A request for the pictures of one noise tensor. Its defaults are those of ComfyUI's default workflow.

    Raises ``BadRequest``, which names the field, its value and what is allowed, for a value that is out of range:
    nothing is clamped. ``engine.parameters.parameters_of`` gives each field's kind, default and help.
    """

    prompt: str = parameter(
        "beautiful scenery nature glass bottle landscape, purple galaxy bottle",
        Text(),
        "what the picture shows; (words:1.3) weigh more, any length",
    )
    negative_prompt: str = parameter("text, watermark", Text(), "what the picture must not show")
    prompt_syntax: str = parameter(
        "comfyui",
        OneOf(PROMPT_SYNTAXES),
        "whose language prompts are in; a1111: [a:b:0.5], [a|b], AND, BREAK, <lora:name:1>, embeddings by bare name",
    )
    prompt_reading: PromptReading | None = parameter(
        None, Optional(Object(PromptReading)), "how prompts in a1111 syntax are read; none: by that program's defaults"
    )
    width: int = parameter(512, WholeNumber(16, MAX_SIDE, 8), "width in pixels, a multiple of 8")
    height: int = parameter(512, WholeNumber(16, MAX_SIDE, 8), "height in pixels, a multiple of 8")
    batch_size: int = parameter(1, WholeNumber(1, 4096), "pictures drawn from one noise tensor")
    steps: int = parameter(20, WholeNumber(1, 10000), "sampling steps")
    cfg_scale: float = parameter(8.0, Number(0, 100), "guidance scale; 1 ignores the negative prompt")
    sampler: str = parameter("euler", OneOf(SAMPLERS), "integration rule")
    scheduler: str = parameter("normal", OneOf(SCHEDULERS), "sigma schedule")
    seed: int | None = parameter(
        802908303372950, Seed(), "0 to 2^64-1; -1 (null in JSON, None in Python) draws a fresh one"
    )
    start_noise: str = parameter(
        "cpu", OneOf(NOISE_DEVICES), "whose generator the start noise is that of, whatever device samples"
    )
    step_noise: str = parameter(
        "cpu", OneOf(NOISE_DEVICES), "the same for the noise that some samplers add at their steps"
    )
    denoise: float = parameter(1.0, Number(0, 1, above_low=True), "share of the sigma schedule that is run, above 0")
    clip_skip: int = parameter(1, WholeNumber(1, 100), "text encoder layer: 1 the last, 2 the last but one, …")
    model: str | None = parameter(
        None,
        Name("the name or path of a checkpoint"),
        "checkpoint: a name from the models folder, or a path; none: the engine's own",
    )
    loras: tuple[Lora, ...] = parameter((), Many(Object(Lora), most=32), "LoRAs, in the order in which they apply")
    vae: str | None = parameter(
        None,
        FileName(what="VAE", folder="vae", optional=True),
        "a VAE from the models folders; none: the checkpoint's own",
    )
    image: str | None = parameter(
        None,
        Optional(PICTURE_NAME),
        "the picture to start from, scaled to width and height and cropped to the centre; denoise says how far",
    )
    mask: str | None = parameter(
        None,
        Optional(PICTURE_NAME),
        "a picture whose red is the mask, scaled as the image: what is bright is painted anew",
    )
    mask_mode: str = parameter(
        "noise",
        OneOf(MASK_MODES),
        "noise: paint over the image as it is; grey: make it grey there first; inpainting: show a checkpoint with nine "
        "channels the image without it; soft: the brighter, the earlier",
    )
    controls: tuple[Control, ...] = parameter((), Many(Object(Control), most=8), "ControlNets and T2I-adapters")
    regions: tuple[Region, ...] = parameter(
        (), Many(Object(Region), most=MAX_REGIONS), "rectangles of the picture with prompts of their own"
    )
    hires: Hires | None = parameter(None, Optional(Object(Hires)), "a second, larger pass")
    upscale: Upscaling | None = parameter(None, Optional(Object(Upscaling)), "a model that enlarges what is finished")
    a1111: A1111 | None = parameter(
        None,
        Optional(Object(A1111)),
        "makes AUTOMATIC1111's picture: its noise, levels and samplers; {} with its defaults; none: ComfyUI's picture",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.prompt_reading is not None and self.prompt_syntax != "a1111":
            raise BadRequest("prompt_reading", self.prompt_reading, "nothing, where prompts are not in a1111 syntax")
        if self.mask is not None and self.image is None:
            raise BadRequest("mask", self.mask, "nothing, where there is no image that it masks")
        if self.mask is not None and self.a1111 is not None:
            raise BadRequest(
                "mask", self.mask, "nothing, where AUTOMATIC1111's picture is made: its masks are not known"
            )
        for number, region in enumerate(self.regions):
            for field, value, side in (("x", region.x, self.width), ("y", region.y, self.height)):
                if value >= side:
                    raise BadRequest(f"regions[{number}].{field}", value, f"a place within the picture, below {side}")

    @cached_property
    def plain(self) -> bool:
        """Whether it is text to picture in one pass of one checkpoint, with prompts in ComfyUI's syntax."""
        parts = any(getattr(self, name) for name in PARTS) or any(region.mask for region in self.regions)
        return self.prompt_syntax == "comfyui" and not parts

    @property
    def pictures(self) -> tuple[str, ...]:
        """The names of the pictures that it loads, each once."""
        named = (self.image, self.mask, *(each.image for each in self.controls), *(each.mask for each in self.regions))
        return tuple(dict.fromkeys(name for name in named if name is not None))

    def workflow(self) -> Workflow:
        """Return the workflow that carries this request out. Raises ``BadRequest`` without a seed: see
        ``with_seed``."""
        from engine.workflow.from_request import workflow_of

        return workflow_of(self)

    def with_seed(self) -> GenerationRequest:
        """Return this request with its own seed, or else with a seed drawn now from the system's entropy."""
        return self if self.seed is not None else dataclasses.replace(self, seed=secrets.randbelow(DRAWN_SEEDS))
