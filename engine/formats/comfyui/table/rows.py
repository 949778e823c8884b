"""What a row of the table holds: a ComfyUI class, its inputs, and what its outputs are.

The range, default and description of an input are those of the node's field that it is handed to. This module knows no
class in particular.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from engine.errors import BadRequest
from engine.formats.comfyui.table.templates import Given, Template
from engine.parameters import REQUIRED, FileName, Flag, Kind, Name, Number, OneOf, Seed, Text, WholeNumber
from engine.workflow.composing import Composition
from engine.workflow.controls import ControlNetwork
from engine.workflow.latents import Latents
from engine.workflow.masks import Mask
from engine.workflow.models import Clip, Model, Vae
from engine.workflow.node import Link, Node
from engine.workflow.pictures import Pictures
from engine.workflow.sampling import Guider, Noise, Sampler, Sigmas
from engine.workflow.text import Conditioning
from engine.workflow.upscaling import Upscaler

CONTROL = "control_after_generate"
"""The editor's own widget behind a seed: what becomes of the seed after a run. No server reads it."""

ANY = "*"
"""The type of an input that takes whatever it is linked to, and of an output that hands it on."""

LINK_TYPES: Mapping[type[Node], str] = {
    Model: "MODEL",
    Clip: "CLIP",
    Vae: "VAE",
    Conditioning: "CONDITIONING",
    ControlNetwork: "CONTROL_NET",
    Latents: "LATENT",
    Pictures: "IMAGE",
    Mask: "MASK",
    Upscaler: "UPSCALE_MODEL",
    Sigmas: "SIGMAS",
    Sampler: "SAMPLER",
    Guider: "GUIDER",
    Composition: "COMPOSITION",
    Noise: "NOISE",
}
"""ComfyUI's names of what travels along links; ``COMPOSITION`` is ours."""

_VALUE_TYPES: Mapping[type[Kind], str] = {
    WholeNumber: "INT",
    Seed: "INT",
    Number: "FLOAT",
    Text: "STRING",
    Flag: "BOOLEAN",
    OneOf: "COMBO",
    Name: "COMBO",
}

_PLACEHOLDER = re.compile(r"\s*(%[^%\s]+%|\$\{[^{}]*\}|\{\{[^{}]*\}\})\s*")


@dataclass(frozen=True, kw_only=True)
class Input:
    """An input of a ComfyUI class."""

    name: str
    type: str
    """A link's type (``MODEL``), a value's (``INT``, ``FLOAT``, ``STRING``, ``BOOLEAN``, ``COMBO``), or ``ANY``."""
    kind: Kind | None = None
    """What values are allowed; None for an input that is always linked."""
    default: Any
    """A checked value, or ``REQUIRED``."""
    help: str = ""
    optional: bool = False
    """Whether ComfyUI lists it as optional."""
    lenient: bool = False
    """Whether a graph may leave it out although ComfyUI lists it as required."""
    hints: Mapping[str, Any] = field(default_factory=dict)
    """What ``/object_info`` says of it beside its range: ``multiline``, a number's ``step``."""
    control: bool = False
    """Whether the editor shows the widget ``CONTROL`` behind it."""
    files: str = ""
    """The kind of files among whose names it chooses: ``checkpoints``; that of the field, if it is a ``FileName``."""
    ours: bool = False
    """Whether ComfyUI's class does not have it. It is written only where it has another value than its default."""
    like: str = ""
    """The input whose node it is linked to where a graph is written for an output that does not depend on it."""

    @property
    def may_be_absent(self) -> bool:
        """Whether a graph may leave it out. It has its default then."""
        return self.optional or self.lenient

    @property
    def linked(self) -> bool:
        """Whether it takes links alone."""
        return self.kind is None

    def read(self, place: str, value: object) -> Any:
        """Return a value of the API form, checked. Raises ``BadRequest``, with ``place`` as its field.

        As in ComfyUI, numbers may be text, text and flags may be numbers, whole numbers lose their fractions, and
        sizes are rounded down to whole steps.
        """
        assert self.kind is not None
        kind = self.kind
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        if isinstance(value, bool | int | float):
            value = _of_number(kind, value)
        if isinstance(value, str) and _PLACEHOLDER.fullmatch(value) and self.name != "filename_prefix":
            raise BadRequest(place, value, f"{kind.allowed}: the placeholder has to be filled in")
        if isinstance(value, str) and isinstance(kind, WholeNumber | Seed | Number | Flag):
            value = kind.from_text(value) if len(value) <= 64 else value
        if isinstance(kind, WholeNumber) and kind.multiple > 1:
            number: int = dataclasses.replace(kind, multiple=1).read(place, value)
            return number - number % kind.multiple
        return kind.read(place, value)

    def checked(self, value: object) -> Any:
        """Return a node or a value to write into a graph. Raises ``BadRequest`` for what ``read`` refuses."""
        return value if self.kind is None else self.read(self.name, value)


def _of_number(kind: Kind, value: float) -> object:
    """Return a number, or a flag, as Python converts it to what ``kind`` is made of; as it is where that says more."""
    match kind:
        case Text():
            return str(value)
        case Flag():
            return bool(value)
        case WholeNumber() | Seed():
            return int(value) if math.isfinite(value) else value
        case Number():
            return int(value) if isinstance(value, bool) else value
    return value


@dataclass(frozen=True, kw_only=True)
class Output:
    """An output of a ComfyUI class: its type and name, and the template for what it is."""

    type: str
    name: str
    template: Template


@dataclass(frozen=True, kw_only=True)
class Row:
    """A ComfyUI class: what it takes, what it makes, and how it is shown."""

    class_type: str
    display_name: str
    category: str
    description: str
    inputs: Mapping[str, Input]
    """By name, in ComfyUI's order."""
    outputs: tuple[Output, ...]
    end: Template | None = None
    """What an output node, which others do not depend on, does with its inputs."""
    written: bool = True
    """Whether graphs are written with it; an older name of another class is read alone."""
    ours: bool = False
    """Whether this is a class that ComfyUI does not have, for what its own cannot say."""

    @property
    def is_output(self) -> bool:
        """Whether it is an output node, from which ComfyUI starts."""
        return self.end is not None

    @property
    def is_virtual(self) -> bool:
        """Whether the editor alone has it, and no server."""
        return any(each.type == ANY for each in self.inputs.values())

    @cached_property
    def links(self) -> Mapping[str, str]:
        """The inputs that take links alone, with their types."""
        return {name: each.type for name, each in self.inputs.items() if each.linked}

    @cached_property
    def widgets(self) -> tuple[str, ...]:
        """The names of the values that the editor keeps, in its order, ``CONTROL`` among them."""
        found: list[str] = []
        for name, each in self.inputs.items():
            found += [] if each.linked else [name, CONTROL] if each.control else [name]
        return tuple(found)

    @cached_property
    def own(self) -> tuple[str, ...]:
        """The names of the inputs that ComfyUI's class does not have."""
        return tuple(name for name, each in self.inputs.items() if each.ours)

    @cached_property
    def comfyui_widgets(self) -> tuple[str, ...]:
        """Those of ``widgets`` that ComfyUI has too."""
        return tuple(name for name in self.widgets if name not in self.own)

    @cached_property
    def output_types(self) -> tuple[str, ...]:
        """The types of its outputs."""
        return tuple(each.type for each in self.outputs)

    def templates(self) -> Iterator[Template]:
        """The templates of its outputs, and its end if it has one."""
        yield from (each.template for each in self.outputs)
        if self.end is not None:
            yield self.end


@dataclass(frozen=True)
class Other:
    """What an input of a row has of its own, in place of what the field that it is handed to has."""

    name: str
    kind: Kind | None = None
    default: Any = None
    help: str = ""
    optional: bool = False
    lenient: bool = False
    control: bool = False
    files: str = ""
    type: str = ""
    ours: bool = False
    like: str = ""
    hints: Mapping[str, Any] = field(default_factory=dict)


def row(
    class_type: str,
    display_name: str,
    category: str,
    description: str,
    *,
    inputs: tuple[str | Other, ...] = (),
    outputs: tuple[Output, ...] = (),
    end: Template | None = None,
    written: bool = True,
    ours: bool = False,
) -> Row:
    """Make a row. An input that is only named takes all from the field that a template hands it to."""
    templates = [*(each.template for each in outputs), *([end] if end is not None else [])]
    uses: dict[str, Mapping[str, Any]] = {}
    for template in templates:
        for node, field_name, name in template.uses():
            declared = next(each for each in dataclasses.fields(node) if each.name == field_name)  # type: ignore[arg-type]
            uses.setdefault(name, {**declared.metadata, "default": declared.default})
    resolved = {}
    for each in inputs:
        other = each if isinstance(each, Other) else Other(each)
        resolved[other.name] = _input(other, uses.get(other.name, {}))
    return Row(
        class_type=class_type,
        display_name=display_name,
        category=category,
        description=description,
        inputs=resolved,
        outputs=outputs,
        end=end,
        written=written,
        ours=ours,
    )


def output(type: str, template: Template | str, name: str = "") -> Output:
    """Return an output; a ``template`` that is text hands on the input of that name."""
    return Output(type=type, name=name or type, template=Given(template) if isinstance(template, str) else template)


def _input(other: Other, use: Mapping[str, Any]) -> Input:
    declared: Kind | Link | None = other.kind or use.get("kind")
    help_text = other.help or use.get("help", "")
    if declared is None or isinstance(declared, Link):
        kind = other.type or LINK_TYPES[declared.type]  # type: ignore[union-attr]
        optional = other.optional
        return Input(name=other.name, type=kind, default=REQUIRED, help=help_text, optional=optional, like=other.like)
    seed = isinstance(declared, Seed)
    return Input(
        name=other.name,
        type=next(name for kind, name in _VALUE_TYPES.items() if isinstance(declared, kind)),
        kind=declared,
        default=use.get("default", REQUIRED) if other.default is None else other.default,
        help=help_text,
        optional=other.optional or other.ours,
        lenient=other.lenient,
        ours=other.ours,
        hints=other.hints,
        control=other.control or seed,
        files=other.files or (declared.folder if isinstance(declared, FileName) else ""),
    )
