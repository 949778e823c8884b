"""The optional parts of a request: what it may have beside its scalars, each a small dataclass.

``GenerationRequest`` checks what depends on the whole request; ``engine.workflow.from_request`` says what a part does.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import (
    REQUIRED,
    FileName,
    Number,
    OneOf,
    Optional,
    Text,
    WholeNumber,
    check_fields,
    parameter,
)
from engine.workflow.conditioning import AREA_PLACE, AREA_SIDE, STRENGTH
from engine.workflow.latents import METHODS
from engine.workflow.pictures import PICTURE_NAME

_ADAPTER_STRENGTH = Number(-100, 100)
_SHARE = Number(0, 1)


@dataclass(frozen=True, kw_only=True)
class Lora:
    """A LoRA, or one of its kin, that changes the checkpoint's weights.

    Raises ``BadRequest`` for a value out of range.
    """

    name: str = parameter(REQUIRED, FileName(what="LoRA", folder="loras"), "a name from the models folders")
    strength: float = parameter(1.0, _ADAPTER_STRENGTH, "how strongly it changes the UNet")
    text_strength: float | None = parameter(
        None, Optional(_ADAPTER_STRENGTH), "how strongly it changes the text encoder; none: as the UNet"
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Control:
    """A ControlNet or T2I-adapter, with the picture that it follows.

    Raises ``BadRequest`` for a value out of range.
    """

    name: str = parameter(
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
    """A second pass: the latents are scaled up and sampled again.

    Raises ``BadRequest`` for a value out of range.
    """

    scale: float = parameter(2.0, Number(1, 8), "by which width and height are multiplied")
    method: str = parameter("bislerp", OneOf(METHODS), "how the latents are scaled")
    denoise: float = parameter(0.5, Number(0, 1, above_low=True), "share of the schedule that is run again, above 0")
    steps: int | None = parameter(None, Optional(WholeNumber(1, 10_000)), "sampling steps; none: as in the first pass")

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle of the picture with a prompt of its own, beside the prompt for the whole picture.

    It is cut at the picture's border, and must begin within it. Raises ``BadRequest`` for a value out of range.
    """

    prompt: str = parameter(REQUIRED, Text(), "what the region shows")
    x: int = parameter(0, AREA_PLACE, "its left edge in pixels, a multiple of 8")
    y: int = parameter(0, AREA_PLACE, "its upper edge in pixels, a multiple of 8")
    width: int = parameter(REQUIRED, AREA_SIDE, "its width in pixels, a multiple of 8, at least 64")
    height: int = parameter(REQUIRED, AREA_SIDE, "its height in pixels, a multiple of 8, at least 64")
    strength: float = parameter(1.0, STRENGTH, "how much its prompt weighs there; that for the whole picture weighs 1")

    def __post_init__(self) -> None:
        check_fields(self)
