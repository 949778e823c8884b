"""The flags of ``python -m engine.generate``: a request's parameters by name, and the short forms of its parts.

Knows how flags are written, and what an error calls them; reads no file and makes no picture.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.command_line import Parser, add_models_flag
from engine.config import EngineConfig
from engine.errors import BadRequest
from engine.parameters import REQUIRED, Object, parameters_of, within
from engine.request import GenerationRequest
from engine.request_a1111 import A1111
from engine.request_parts import Control, Hires, Lora, PromptReading, Region, Upscaling

PARAMETERS = parameters_of(GenerationRequest)

_FIELD = re.compile(r"(?:[A-Za-z]:(?=[\\/]))?[^:]*")
"""One value of a short form: text without a colon, but for that of a drive (``C:\\``)."""

_HEAD = re.compile(r"([\w-]+)(?:\[\d+\])?\.?")
"""The parameter or setting in the field of an error, such as ``loras[0].name``."""


@dataclass(frozen=True)
class Short:
    """The short form of a part of a request: the values of some of its fields, in order, with colons between them."""

    flag: str
    cls: type
    fields: tuple[str, ...]
    rest: bool = False
    """Whether the last field is text that takes all that is left, colons too."""

    @property
    def usage(self) -> str:
        """How it is written: ``NAME[:STRENGTH[:CLIP_STRENGTH]]``."""
        known = parameters_of(self.cls)
        needed = max([1, *(at for at, name in enumerate(self.fields, 1) if known[name].default is REQUIRED)])
        words = [name.upper() for name in self.fields]
        return ":".join(words[:needed]) + "".join(f"[:{word}" for word in words[needed:]) + "]" * (len(words) - needed)

    @property
    def others(self) -> tuple[str, ...]:
        """The fields that the short form has no place for: JSON alone says them."""
        return tuple(name for name in parameters_of(self.cls) if name not in self.fields)

    def read(self, name: str, text: str) -> object:
        """Return the part that ``text`` spells, in short or as JSON. A value that is left empty has its default.

        Raises ``BadRequest`` about the parameter ``name`` that says how the part is written.
        """
        if text.lstrip().startswith("{"):
            with within(name):
                made = Object(self.cls).from_text(text)
            return Object(self.cls).check(name, made)
        known = parameters_of(self.cls)
        given = {field: value for field, value in self._split(text).items() if value}
        if not given.keys() <= known.keys() or any(
            each.default is REQUIRED for each in known.values() if each.name not in given
        ):
            raise BadRequest(name, text, f"{self.usage}, or JSON")
        try:
            return self.cls(**{field: known[field].kind.from_text(value) for field, value in given.items()})
        except BadRequest as error:
            allowed = f"{self.usage}, or JSON, with {error.allowed} for {error.field.upper()}"
            raise BadRequest(name, text, allowed) from None

    def _split(self, text: str) -> dict[str, str]:
        """The fields' values; one too many has a name of its own."""
        names = (*self.fields, "too many")
        if self.rest:
            return dict(zip(names, text.split(":", len(self.fields) - 1), strict=False))
        values: list[str] = []
        at = 0
        while at <= len(text) and len(values) < len(names):
            match = _FIELD.match(text, at)
            assert match is not None  # the pattern allows nothing
            values.append(match[0])
            at = match.end() + 1
        return dict(zip(names, values, strict=False))


SHORT: Mapping[str, Short] = {
    "loras": Short("--lora", Lora, ("name", "strength", "clip_strength")),
    "prompt_reading": Short("--prompt-reading", PromptReading, ("emphasis", "comma_backtrack")),
    "controls": Short("--control", Control, ("model", "image", "strength", "start", "end")),
    "regions": Short("--region", Region, ("x", "y", "width", "height", "prompt"), rest=True),
    "hires": Short("--hires", Hires, ("scale", "method", "denoise", "steps")),
    "upscale": Short("--upscale", Upscaling, ("model", "scale")),
    "a1111": Short("--a1111", A1111, ("schedule", "rng")),
}
"""The short forms, by the names of the parameters."""

_OTHERS = {"inputs": "--input", "models_folders": "--models", "prompt": "PROMPT"}
_PLAIN = ("device", "dtype", "batching", "workflow", "repeat", "out", "save-latents")
_WORDS = {
    **{name: "--" + name.replace("_", "-") for name in (*PARAMETERS, *_PLAIN)},
    **{name: short.flag for name, short in SHORT.items()},
    **_OTHERS,
}
"""What errors call a parameter or setting → the flag."""


def flag_of(field: str) -> str:
    """Return what an error about ``field`` is about on the command line: ``loras[0].name`` → ``--lora name``."""
    match = _HEAD.match(field)
    if match is None or match[1] not in _WORDS:
        return field
    place = field[match.end() :].strip()
    return f"{_WORDS[match[1]]} {place}".rstrip() if match[1] != "workflow" or not place else field


def given_parameters(options: argparse.Namespace) -> dict[str, Any]:
    """Return the values of the parameters that flags were given for.

    Raises ``BadRequest`` that names all flags at fault.
    """
    given, mistakes = {}, list[BadRequest]()
    for name in PARAMETERS:
        if hasattr(options, name):
            try:
                given[name] = _value(name, getattr(options, name))
            except BadRequest as error:
                mistakes += error.all
    if mistakes:
        raise BadRequest.together(mistakes)
    return given


def _value(name: str, given: str | list[str]) -> Any:
    short, kind = SHORT.get(name), PARAMETERS[name].kind
    if short is None or given == "null":
        return kind.check(name, kind.from_text(str(given)))
    if isinstance(given, str):
        return kind.check(name, short.read(name, given))
    parts, mistakes = list[Any](), list[BadRequest]()
    for text in given:
        try:
            parts += _several(name, text) if text.lstrip().startswith("[") else [short.read(name, text)]
        except BadRequest as error:
            mistakes += error.all
    if mistakes:
        raise BadRequest.together(mistakes)
    return kind.check(name, tuple(parts))


def _several(name: str, text: str) -> Any:
    kind = PARAMETERS[name].kind
    with within(name):
        parts = kind.from_text(text)
    return kind.check(name, parts)


class _OtherName(argparse.Action):
    """Another name for a flag, which does the same and says what the flag is called."""

    def __call__(
        self, parser: argparse.ArgumentParser, options: argparse.Namespace, value: Any, option: str | None = None
    ) -> None:
        setattr(options, self.dest, value)
        print(f"note: {option} is called --{self.dest}; --image starts from a picture", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line. Parameters that are not given are absent from what it returns."""
    made = Parser(
        prog="python -m engine.generate",
        description="Make a picture with a Stable Diffusion checkpoint.",
        epilog="Each part is also taken as JSON, with the fields that the HTTP API has; a short form has those named.",
    )
    for name in PARAMETERS:
        _add_parameter(made, name)
    source = made.add_mutually_exclusive_group()
    source.add_argument(
        "--workflow", metavar="FILE", type=Path, help="run a ComfyUI workflow file, in API or editor form"
    )
    source.add_argument(
        "--repeat", metavar="PNG", type=Path, help="repeat a picture from the parameters or workflow inside it"
    )
    source.add_argument("--from-image", dest="repeat", type=Path, action=_OtherName, help=argparse.SUPPRESS)
    made.add_argument(
        "--input",
        metavar="PATH",
        type=Path,
        action="append",
        default=[],
        help="a folder of pictures, or one, that the workflow or --image, --mask, --control names; repeatable",
    )
    _add_surroundings(made)
    return made


def _add_parameter(parser: argparse.ArgumentParser, name: str) -> None:
    each, short = PARAMETERS[name], SHORT.get(name)
    default = "" if each.default in (None, ()) else f" (default: {each.default})"
    flags = ["prompt" if name == "prompt" else "--" + name.replace("_", "-")]
    options: dict[str, Any] = {"nargs": "?"} if name == "prompt" else {"metavar": "VALUE"}
    if short is not None:
        options["metavar"] = short.usage
        if short.flag not in flags:  # several, each with a flag of its own
            flags, default = [short.flag, *flags], "; repeatable"
            options |= {"action": "append", "dest": name}
        default += f"; as JSON also {', '.join(short.others)}" if short.others else "; as JSON too"
    parser.add_argument(*flags, help=(each.help + default).replace("%", "%%"), default=argparse.SUPPRESS, **options)


def _add_surroundings(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say where and how."""
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("output"), help="where the PNG goes (default: output)"
    )
    parser.add_argument("--save-latents", metavar="FILE", type=Path, help="write the final latents too, as safetensors")
    parser.add_argument("--json", action="store_true", help="print one JSON line per picture instead of its path")
    add_models_flag(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--dtype", default="auto", help="auto, float32, float16 or bfloat16 (default: auto)")
    parser.add_argument("--batching", default=EngineConfig.batching, help="exact or fast (default: %(default)s)")
