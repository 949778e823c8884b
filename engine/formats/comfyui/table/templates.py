"""Templates say how the inputs of a ComfyUI node make a value, and are read in both directions.

A template makes a value from inputs, finds the inputs that would make a value, and knows which input a field of that
value came from. This module knows no class of ComfyUI and no node of a workflow in particular.
"""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from engine.errors import BadRequest
from engine.formats.json_text import read_json
from engine.sampling.samplers.table import SAMPLERS
from engine.workflow.node import Link, Node

_ABSENT = object()


class Template(ABC):
    """How inputs make a value."""

    @abstractmethod
    def make(self, inputs: Mapping[str, Any]) -> Any:
        """Return the value that checked inputs make."""

    @abstractmethod
    def match(self, value: object, found: dict[str, Any]) -> bool:
        """Add to ``found`` the inputs that make ``value``; return False where no inputs do, or others than it has."""

    def uses(self) -> Iterator[tuple[type[Node], str, str]]:
        """Return the fields that an input is handed to as it is: node class, field, input."""
        return iter(())

    def names(self) -> Iterator[str]:
        """Return the inputs that the value depends on, those that are linked behind those that are not."""
        return iter(())

    def input_of(self, value: Any, node: Node, field: str) -> str | None:
        """Return the input that ``field`` of ``node``, which may be a part of ``value``, came from; None: from none."""
        return None


@dataclass(frozen=True)
class Given(Template):
    """The value of one input."""

    name: str

    def make(self, inputs: Mapping[str, Any]) -> Any:
        return inputs[self.name]

    def match(self, value: object, found: dict[str, Any]) -> bool:
        return bool(found.setdefault(self.name, value) == value)

    def names(self) -> Iterator[str]:
        yield self.name


@dataclass(frozen=True)
class Always(Template):
    """The same value, whatever the inputs are."""

    value: Any

    def make(self, inputs: Mapping[str, Any]) -> Any:
        return self.value

    def match(self, value: object, found: dict[str, Any]) -> bool:
        return bool(value == self.value)


@dataclass(frozen=True)
class Choice(Template):
    """One of several templates, chosen by the value of an input."""

    name: str
    cases: Mapping[Any, Template]

    def make(self, inputs: Mapping[str, Any]) -> Any:
        return self.cases[inputs[self.name]].make(inputs)

    def match(self, value: object, found: dict[str, Any]) -> bool:
        for choice, template in self.cases.items():
            tried = dict(found)
            if tried.setdefault(self.name, choice) == choice and template.match(value, tried):
                found.update(tried)
                return True
        return False

    def uses(self) -> Iterator[tuple[type[Node], str, str]]:
        for template in self.cases.values():
            yield from template.uses()

    def names(self) -> Iterator[str]:
        yield self.name
        for template in self.cases.values():
            yield from template.names()

    def input_of(self, value: Any, node: Node, field: str) -> str | None:
        found = (template.input_of(value, node, field) for template in self.cases.values())
        return next((name for name in found if name is not None), None)


@dataclass(frozen=True)
class Made(Template):
    """A node whose fields are made by templates. The fields that have none keep their defaults."""

    node: type[Node]
    fields: Mapping[str, Template]

    def make(self, inputs: Mapping[str, Any]) -> Any:
        return self.node(**{name: template.make(inputs) for name, template in self.fields.items()})

    def match(self, value: object, found: dict[str, Any]) -> bool:
        if type(value) is not self.node:
            return False
        for field in dataclasses.fields(cast(Any, self.node)):
            here = getattr(value, field.name)
            template = self.fields.get(field.name)
            if not (here == field.default if template is None else template.match(here, found)):
                return False
        return True

    def uses(self) -> Iterator[tuple[type[Node], str, str]]:
        for field, template in self.fields.items():
            if isinstance(template, Given):
                yield self.node, field, template.name
            yield from template.uses()

    def names(self) -> Iterator[str]:
        kinds = {field.name: field.metadata.get("kind") for field in dataclasses.fields(cast(Any, self.node))}
        linked = {name for name in self.fields if isinstance(kinds[name], Link)}
        for field in sorted(self.fields, key=lambda name: name in linked):
            yield from self.fields[field].names()

    def input_of(self, value: Any, node: Node, field: str) -> str | None:
        if type(value) is not self.node:
            return None
        if value == node:
            template = self.fields.get(field)
            return next(template.names(), None) if template is not None else None
        for name, template in self.fields.items():
            found = template.input_of(getattr(value, name), node, field)
            if found is not None:
                return found
        return None


@dataclass(frozen=True)
class Options(Template):
    """The options of a sampler, each an input of its own; those that have the sampler's defaults are left out."""

    sampler: str
    inputs: tuple[str, ...]

    def make(self, inputs: Mapping[str, Any]) -> Any:
        defaults = SAMPLERS[self.sampler].options
        return tuple((name, inputs[name]) for name in self.inputs if inputs[name] != defaults[name])

    def match(self, value: object, found: dict[str, Any]) -> bool:
        options = dict(cast(Any, value))
        for name in self.inputs:
            if found.setdefault(name, _ABSENT) is _ABSENT:
                found[name] = options.get(name, SAMPLERS[self.sampler].options[name])
        return bool(self.make(found) == value)

    def names(self) -> Iterator[str]:
        yield from self.inputs


@dataclass(frozen=True)
class Pairs(Template):
    """Names and values, from an input that holds them as JSON: ``[["eta", 0.5]]``."""

    name: str

    def make(self, inputs: Mapping[str, Any]) -> Any:
        try:
            pairs = read_json(inputs[self.name])
        except ValueError:
            pairs = None
        if not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
            raise BadRequest(self.name, inputs[self.name], 'JSON: a list of names and values, such as [["eta", 0.5]]')
        return tuple((name, value) for name, value in pairs)

    def match(self, value: object, found: dict[str, Any]) -> bool:
        text = json.dumps([list(pair) for pair in cast(Any, value)])
        return bool(found.setdefault(self.name, text) == text)

    def names(self) -> Iterator[str]:
        yield self.name


def made(node: type[Node], **fields: Template | str) -> Made:
    """Return a template for ``node``; text for a field is the name of the input whose value the field has."""
    return Made(node, {name: Given(each) if isinstance(each, str) else each for name, each in fields.items()})


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float | str)
    )
