"""What a caller wants: every parameter with its default, range and unit.

This is the only list of parameters in the project; the command line and the HTTP dialects are built
from it. Knows nothing of tensors and files: whether a model exists, or a size fits into the memory, is
found out by those who hold them.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.errors import BadRequest
from engine.sampling import samplers, schedulers

MAX_SEED = 2**64 - 1

MAX_SIDE = 16384
"""Of a picture, in pixels."""

SAMPLERS = tuple(samplers.SAMPLERS)
"""The names of the samplers, as ComfyUI calls them."""

SCHEDULERS = tuple(schedulers.SCHEDULERS)
"""The names of the sigma schedules, as ComfyUI calls them."""


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadRequest(name, value, "text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(name, value, f"Unicode text (character {error.start} is half of a surrogate pair)") from None
    return value


def _optional_name(name: str, value: object) -> str | None:
    if value is None:
        return None
    text = _text(name, value)
    if not text or "\0" in text:
        raise BadRequest(name, value, "the name or path of a checkpoint")
    return text


@dataclass(frozen=True)
class WholeNumber:
    """A check for whole numbers from ``low`` to ``high``."""

    low: int
    high: int
    multiple: int = 1

    def __call__(self, name: str, value: Any) -> int:
        unit = f"a multiple of {self.multiple}" if self.multiple > 1 else "a whole number"
        allowed = f"{unit} from {self.low} to {self.high}"
        try:
            number = operator.index(value)
        except TypeError:
            raise BadRequest(name, value, allowed) from None
        if isinstance(value, bool) or not self.low <= number <= self.high or number % self.multiple:
            raise BadRequest(name, value, allowed)
        return number


def _seed(name: str, value: object) -> int | None:
    if value is None:
        return None
    try:
        number = WholeNumber(-1, MAX_SEED)(name, value)
        return None if number == -1 else number
    except BadRequest as error:
        allowed = error.allowed.replace("-1", "0")
        raise BadRequest(name, value, f"{allowed}, or -1 or null for a fresh one") from None


@dataclass(frozen=True)
class Number:
    """A check for numbers from ``low``, or above it, to ``high``."""

    low: float
    high: float
    above_low: bool = False

    def __call__(self, name: str, value: Any) -> float:
        start = f"above {self.low:g} up" if self.above_low else f"from {self.low:g}"
        allowed = f"a number {start} to {self.high:g}"
        try:
            number = math.nan if isinstance(value, str | bytes | bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            raise BadRequest(name, value, allowed) from None
        if not self.low <= number <= self.high or (self.above_low and number == self.low):
            raise BadRequest(name, value, allowed)
        return number


@dataclass(frozen=True)
class OneOf:
    """A check for one of ``choices``."""

    choices: tuple[str, ...]

    def __call__(self, name: str, value: object) -> str:
        if not isinstance(value, str):
            raise BadRequest(name, value, f"one of {', '.join(self.choices)}")
        if value not in self.choices:
            nearest = difflib.get_close_matches(value, self.choices, n=3, cutoff=0.5)
            hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
            raise BadRequest(name, value, f"one of {', '.join(self.choices)}{hint}")
        return value


def _parameter(default: Any, check: Callable[[str, object], Any], help: str) -> Any:
    return dataclasses.field(default=default, metadata={"check": check, "help": help})


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """One request. The defaults are the workflow's values.

    Raises ``BadRequest``, naming field, value and what is allowed, for anything out of range; nothing is
    clamped. Each field's ``metadata`` holds its ``check`` and its ``help``.
    """

    prompt: str = _parameter(
        "beautiful scenery nature glass bottle landscape, purple galaxy bottle",
        _text,
        "what the picture shows; (words:1.3) weigh more, any length",
    )
    negative_prompt: str = _parameter("text, watermark", _text, "what the picture must not show")
    width: int = _parameter(512, WholeNumber(16, MAX_SIDE, 8), "width in pixels, a multiple of 8")
    height: int = _parameter(512, WholeNumber(16, MAX_SIDE, 8), "height in pixels, a multiple of 8")
    batch_size: int = _parameter(1, WholeNumber(1, 4096), "pictures drawn from one noise tensor")
    steps: int = _parameter(20, WholeNumber(1, 10000), "sampling steps")
    cfg_scale: float = _parameter(8.0, Number(0, 100), "guidance scale; 1 ignores the negative prompt")
    sampler: str = _parameter("euler", OneOf(SAMPLERS), "integration rule")
    scheduler: str = _parameter("normal", OneOf(SCHEDULERS), "sigma schedule")
    seed: int | None = _parameter(
        802908303372950, _seed, "0 to 2^64-1; -1 (null in JSON, None in Python) draws a fresh one"
    )
    denoise: float = _parameter(1.0, Number(0, 1, above_low=True), "share of the sigma schedule that is run, above 0")
    clip_skip: int = _parameter(1, WholeNumber(1, 100), "text encoder layer: 1 the last, 2 the last but one, …")
    model: str | None = _parameter(
        None, _optional_name, "checkpoint: a name from the models folder, or a path; none: the engine's own"
    )

    def __post_init__(self) -> None:
        for name, check in _CHECKS:
            given = getattr(self, name)
            value = check(name, given)
            if value is not given:
                object.__setattr__(self, name, value)

    def with_seed(self) -> GenerationRequest:
        """This request with a seed: its own, or one drawn now from the system's entropy."""
        return self if self.seed is not None else dataclasses.replace(self, seed=secrets.randbelow(MAX_SEED + 1))


_CHECKS = tuple((field.name, field.metadata["check"]) for field in dataclasses.fields(GenerationRequest))
