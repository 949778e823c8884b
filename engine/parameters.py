"""Parameters: dataclass fields that know how they are checked, described, read and written.

``parameter`` declares a field, and everything that a command line, a dialect or a database needs to know of it follows
from its ``Kind``. This module is the only place that knows how; it knows no parameter by name and imports no torch.

    @dataclass(frozen=True, kw_only=True)
    class Hires:
        scale: float = parameter(2.0, Number(1, 8), "how much larger the second pass is")

        def __post_init__(self) -> None:
            check_fields(self)
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from engine.errors import BadRequest
from engine.kinds import (
    MAX_SEED,
    FileName,
    Flag,
    Kind,
    Many,
    Name,
    Number,
    OneOf,
    Optional,
    Seed,
    Text,
    WholeNumber,
    json_of_text,
    nullable,
    placed,
    within,
)

__all__ = [
    "MAX_SEED",
    "REQUIRED",
    "FileName",
    "Flag",
    "Kind",
    "Many",
    "Name",
    "Number",
    "Object",
    "OneOf",
    "Optional",
    "Parameter",
    "Seed",
    "Text",
    "WholeNumber",
    "check_fields",
    "from_json",
    "nearest",
    "nullable",
    "parameter",
    "parameters_of",
    "placed",
    "restored",
    "schema_of",
    "spelt",
    "to_json",
    "within",
]

REQUIRED: Any = dataclasses.MISSING
"""The default of a parameter that has none."""

_SHOWN = 80
"""Characters of an unknown name that an error shows."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a dataclass, as ``parameter`` declared it."""

    name: str
    kind: Kind
    default: Any
    """A checked value, or ``REQUIRED``."""
    help: str
    """What the parameter does, for command lines and documents: one phrase without a full stop."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the parameter, with its default and description."""
        default = {} if self.default is REQUIRED else {"default": self.kind.to_json(self.default)}
        return {**self.kind.schema(), **default, "description": self.help}


def parameter(default: Any, kind: Kind, help: str) -> Any:
    """Declare a dataclass field that is a parameter of ``kind``; ``REQUIRED`` as the default means that it has none."""
    return dataclasses.field(default=default, metadata={"kind": kind, "help": help})


def parameters_of(cls: type) -> Mapping[str, Parameter]:
    """Return the parameters of a dataclass by name, in the order of its fields. Other fields are left out."""
    return _parameters_of(cls)


@functools.cache
def _parameters_of(cls: Any) -> Mapping[str, Parameter]:
    return MappingProxyType(
        {
            field.name: Parameter(
                name=field.name, kind=field.metadata["kind"], default=field.default, help=field.metadata["help"]
            )
            for field in dataclasses.fields(cls)
            if "kind" in field.metadata
        }
    )


def check_fields(self: object) -> None:
    """Check every parameter of a dataclass instance, and keep the values in their Python types.

    A ``__post_init__`` calls this. Defaults are checked once a class. Raises ``BadRequest`` that names each field with
    a wrong value, the value and what is allowed.
    """
    cls: Any = type(self)
    own = vars(self)
    mistakes: list[BadRequest] = []
    for name, default, check in _checks_of(cls):
        given = own[name]
        if given is default:
            continue
        try:
            own[name] = check(name, given)
        except BadRequest as error:
            mistakes += error.all
    if mistakes:
        raise BadRequest.together(mistakes)


@functools.cache
def _checks_of(cls: type) -> tuple[tuple[str, object, Callable[[str, object], Any]], ...]:
    """Return the name, the default and the check of each parameter."""
    for name, each in parameters_of(cls).items():
        assert each.default is REQUIRED or each.kind.check(name, each.default) is each.default, (cls, name)
    return tuple((name, each.default, each.kind.check) for name, each in parameters_of(cls).items())


def to_json(value: object) -> dict[str, Any]:
    """Return the parameters of a dataclass instance as a JSON object from which ``from_json`` makes an equal one."""
    own = vars(value)
    return {name: each.kind.to_json(own[name]) for name, each in parameters_of(type(value)).items()}


def from_json(cls: type[T], values: Mapping[str, Any]) -> T:
    """Make an instance of ``cls`` from a JSON object. A parameter that is left out has its default.

    Raises ``BadRequest`` that names all names that are unknown, all values that are not allowed, and all required
    values that are absent.
    """
    known, read, mistakes = parameters_of(cls), {}, list[BadRequest]()
    for name, value in values.items():
        if name not in known:
            mistakes.append(BadRequest(name[:_SHOWN], value, f"only known parameters{nearest(name, known)}"))
            continue
        try:
            read[name] = known[name].kind.from_json(value)
        except BadRequest as error:
            mistakes += placed(name, error).all
    for name, each in known.items():
        if each.default is REQUIRED and name not in values:
            mistakes.append(BadRequest(name, None, f"{each.kind.allowed}; it is required"))
    if mistakes:
        raise BadRequest.together([*mistakes, *_refused(known, read)])
    return cls(**read)


def _refused(known: Mapping[str, Parameter], values: Mapping[str, Any]) -> list[BadRequest]:
    """Return what is wrong with each of some parameters' values."""
    mistakes: list[BadRequest] = []
    for name, value in values.items():
        try:
            known[name].kind.check(name, value)
        except BadRequest as error:
            mistakes += error.all
    return mistakes


def restored(cls: type[T], values: Mapping[str, Any]) -> T:
    """Make an instance from a JSON object that another version's ``to_json`` wrote, without checking its values.

    For looking at what was allowed once: unknown names are left out, what is missing has its default, and a value that
    cannot be read stays as it is. ``check_fields`` refuses it before it is used.
    """
    made = object.__new__(cls)
    for name, each in parameters_of(cls).items():
        value = values.get(name, None if each.default is REQUIRED else each.default)
        with contextlib.suppress(BadRequest):
            value = each.kind.from_json(value)
        object.__setattr__(made, name, value)
    return made


def nearest(name: str, known: Collection[str]) -> str:
    """Return the known names that ``name`` may have been meant as, or all of them, as the end of a message."""
    found = difflib.get_close_matches(name[:_SHOWN], known, n=3, cutoff=0.5)
    return f"; nearest: {', '.join(found)}" if found else f": {', '.join(known)}"


def schema_of(cls: type) -> dict[str, Any]:
    """Return the JSON schema of the objects that ``from_json`` takes for ``cls``."""
    known = parameters_of(cls)
    required = [name for name, each in known.items() if each.default is REQUIRED]
    return {
        "type": "object",
        "properties": {name: each.schema() for name, each in known.items()},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


@dataclass(frozen=True)
class Object(Kind):
    """A frozen dataclass with parameters of its own: an object in JSON, and in text."""

    cls: type

    @property
    def allowed(self) -> str:
        return f"an object with {', '.join(parameters_of(self.cls))}"

    def check(self, name: str, value: object) -> Any:
        # the value checked its own fields when it was made
        if not isinstance(value, self.cls):
            raise BadRequest(name, value, self.allowed)
        return value

    def schema(self) -> dict[str, Any]:
        return schema_of(self.cls)

    def from_text(self, text: str) -> object:
        return self.from_json(json_of_text(text))

    def from_json(self, value: object) -> object:
        """Return the part. Raises ``BadRequest``, with a field of the part as its field, for what the part refuses."""
        return from_json(self.cls, value) if isinstance(value, Mapping) else value

    def to_json(self, value: Any) -> object:
        return to_json(value) if isinstance(value, self.cls) else value  # as ``restored`` could not read it


def spelt(kind: Kind, value: object) -> object:
    """Return the value of ``kind`` that a form's text spells, or that its lists and objects of texts spell."""
    if isinstance(value, str):
        return kind.from_text(value)
    if isinstance(kind, Optional):
        return spelt(kind.kind, value)
    if isinstance(kind, Many) and isinstance(value, list):
        return [spelt(kind.kind, each) for each in value]
    if isinstance(kind, Object) and isinstance(value, Mapping):
        known = parameters_of(kind.cls)
        return {name: spelt(known[name].kind, each) if name in known else each for name, each in value.items()}
    return value
