"""The optional parts of a request: what it may have beside its scalars, each a small dataclass.

``GenerationRequest`` checks what depends on the whole request; ``engine.workflow.from_request`` says what a part does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.errors import BadRequest
from engine.parameters import (
    REQUIRED,
    FileName,
    Flag,
    Number,
    OneOf,
    Optional,
    Seed,
    Text,
    WholeNumber,
    check_fields,
    parameter,
)
from engine.sampling.samplers.table import SAMPLERS
from engine.sampling.schedulers import SCHEDULERS
from engine.text.a1111.reading import EMPHASES
from engine.workflow.conditioning import AREA_PLACE, AREA_SIDE, STRENGTH
from engine.workflow.latents import MAX_SIDE, METHODS
from engine.workflow.models import RANK, RANK_HELP
from engine.workflow.pictures import PICTURE_NAME
from engine.workflow.sizes import PIXELS_PER_CELL
from engine.workflow.text import BACKTRACK_HELP, BACKTRACKS, EMPHASIS_HELP, OLD_EMPHASIS_HELP, OLD_SCHEDULES_HELP

_ADAPTER_STRENGTH = Number(-100, 100)
_SHARE = Number(0, 1)
_SIDE = WholeNumber(16, MAX_SIDE, 8)


@dataclass(frozen=True, kw_only=True)
class Lora:
    """A LoRA, or one of its kin, that changes the checkpoint's weights.

    Raises ``BadRequest`` for a value out of range.
    """

    name: str = parameter(REQUIRED, FileName(what="LoRA", folder="loras"), "a name from the models folders")
    strength: float = parameter(1.0, _ADAPTER_STRENGTH, "how strongly it changes the UNet")
    clip_strength: float | None = parameter(
        None, Optional(_ADAPTER_STRENGTH), "how strongly it changes the text encoder; none: as the UNet"
    )
    rank: int = parameter(0, RANK, RANK_HELP)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class PromptReading:
    """How prompts in AUTOMATIC1111's language are read, where its settings are not as that program comes.

    Raises ``BadRequest`` for a value out of range.
    """

    emphasis: str = parameter("original", OneOf(EMPHASES), EMPHASIS_HELP)
    old_emphasis: bool = parameter(False, Flag(), OLD_EMPHASIS_HELP)
    comma_backtrack: int = parameter(20, BACKTRACKS, BACKTRACK_HELP)
    old_schedules: bool = parameter(False, Flag(), OLD_SCHEDULES_HELP)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Control:
    """A ControlNet or T2I-adapter, with the picture that it follows.

    Raises ``BadRequest`` for a value out of range.
    """

    model: str = parameter(
        REQUIRED, FileName(what="ControlNet or T2I-adapter", folder="controlnet"), "a name from the models folders"
    )
    image: str = parameter(REQUIRED, PICTURE_NAME, "the picture that it follows, prepared for it")
    strength: float = parameter(1.0, Number(0, 10), "how strongly it is followed")
    start: float = parameter(0.0, _SHARE, "the share of the sampling from which on it is followed")
    end: float = parameter(1.0, _SHARE, "the share of the sampling up to which it is followed")

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Hires:
    """A second pass: what the first one made is scaled up and sampled again.

    Raises ``BadRequest`` for a value out of range, and for a size in two ways.
    """

    scale: float | None = parameter(
        None, Optional(Number(1, 8)), "by which width and height are multiplied; none: 2, or as width and height say"
    )
    width: int | None = parameter(None, Optional(_SIDE), "width in pixels, a multiple of 8, in place of scale")
    height: int | None = parameter(None, Optional(_SIDE), "height in pixels, a multiple of 8, in place of scale")
    method: str = parameter("bislerp", OneOf(METHODS), "how the latents are scaled, where no upscaler is given")
    upscaler: str | None = parameter(
        None,
        FileName(what="upscale model", folder="upscale_models", optional=True),
        "a model that enlarges the decoded pictures, which are then scaled to size and encoded again; none: latents",
    )
    denoise: float = parameter(0.5, Number(0, 1, above_low=True), "share of the schedule that is run again, above 0")
    steps: int | None = parameter(None, Optional(WholeNumber(1, 10_000)), "sampling steps; none: as in the first pass")
    cfg_scale: float | None = parameter(None, Optional(Number(0, 100)), "guidance scale; none: as in the first pass")
    sampler: str | None = parameter(None, Optional(OneOf(tuple(SAMPLERS))), "sampler; none: as in the first pass")
    scheduler: str | None = parameter(None, Optional(OneOf(tuple(SCHEDULERS))), "schedule; none: as in the first pass")
    seed: int | None = parameter(None, Optional(Seed(optional=False)), "seed; none: as in the first pass")
    prompt: str | None = parameter(None, Optional(Text()), "prompt; none: as in the first pass")
    negative_prompt: str | None = parameter(None, Optional(Text()), "negative prompt; none: as in the first pass")

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.width is None) != (self.height is None):
            missing = "width" if self.width is None else "height"
            raise BadRequest(missing, None, "width and height together, or neither")
        if self.scale is not None and self.width is not None:
            raise BadRequest("scale", self.scale, "nothing beside width and height")

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height, in pixels and multiples of 8, of the second pass after a first one of this size."""
        if self.width is not None and self.height is not None:
            return self.width, self.height
        factor = 2.0 if self.scale is None else self.scale
        wide, high = (round(side * factor / PIXELS_PER_CELL) * PIXELS_PER_CELL for side in (width, height))
        return wide, high

    @property
    def changes(self) -> dict[str, Any]:
        """The parameters of the request that are others in the second pass, with their values."""
        names = ("steps", "cfg_scale", "sampler", "scheduler", "seed", "prompt", "negative_prompt")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, kw_only=True)
class Upscaling:
    """A model that enlarges the finished pictures.

    Raises ``BadRequest`` for a value out of range.
    """

    model: str = parameter(
        REQUIRED, FileName(what="upscale model", folder="upscale_models"), "a name from the models folders"
    )
    scale: float | None = parameter(
        None, Optional(Number(0.1, 8)), "by which width and height are multiplied in all; none: as the model does"
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of the picture with a prompt of its own, beside the prompt for the whole picture.

    It is a rectangle, which is cut at the picture's border and must begin within it, or what a mask shows. Raises
    ``BadRequest`` for a value out of range, and for a region that is both or neither.
    """

    prompt: str = parameter(REQUIRED, Text(), "what the region shows")
    x: int = parameter(0, AREA_PLACE, "its left edge in pixels, a multiple of 8")
    y: int = parameter(0, AREA_PLACE, "its upper edge in pixels, a multiple of 8")
    width: int | None = parameter(None, Optional(AREA_SIDE), "its width in pixels, a multiple of 8, at least 64")
    height: int | None = parameter(None, Optional(AREA_SIDE), "its height in pixels, a multiple of 8, at least 64")
    mask: str | None = parameter(
        None, Optional(PICTURE_NAME), "a picture, scaled to the whole, whose red says where, in place of a rectangle"
    )
    strength: float = parameter(1.0, STRENGTH, "how much its prompt weighs there; that for the whole picture weighs 1")
    start: float = parameter(0.0, _SHARE, "the share of the sampling from which on its prompt counts")
    end: float = parameter(1.0, _SHARE, "the share of the sampling up to which its prompt counts")

    def __post_init__(self) -> None:
        check_fields(self)
        sides = {"width": self.width, "height": self.height}
        for name, side in sides.items():
            if self.mask is None and side is None:
                raise BadRequest(name, None, "width and height of a rectangle, or a mask")
            if self.mask is not None and side is not None:
                raise BadRequest(name, side, "nothing beside a mask")
