"""What every node is: a frozen value that says what one thing is made from.

Knows no kind of node, no tensor and no file. ``engine.parameters`` checks the fields; the nodes that it is made from
are fields too.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.errors import BadRequest
from engine.parameters import check_fields


class Node:
    """One thing that a workflow makes or uses. Equal values are one thing, which is computed once.

    Subclasses are dataclasses, frozen and keyword-only, with ``eq=False``: a node is equal to another of the same class
    with equal fields. Raises ``BadRequest`` for a field's value that is not allowed, naming the field.
    """

    digest: bytes
    """A hash of the class and of all fields, those of the nodes that it is made from included."""
    _hash: int
    _sources: tuple[Node, ...]

    def __post_init__(self) -> None:
        check_fields(self)
        kind: Any = type(self)
        parts = [kind.__name__.encode()]
        sources: list[Node] = []
        own = vars(self)
        for name, label in _labels_of(kind):
            value = own[name]
            if isinstance(value, Node):
                sources.append(value)
                parts += label, value.digest
            elif isinstance(value, tuple):
                sources += [each for each in value if isinstance(each, Node)]
                parts += label, _written(value)
            else:
                parts += label, repr(value).encode("utf-8", "surrogatepass")
        own["digest"] = digest = hashlib.sha256(b"".join(parts)).digest()
        own["_hash"] = int.from_bytes(digest[:7], "little")
        own["_sources"] = tuple(sources)

    def fields(self) -> Iterator[tuple[str, Any]]:
        """The fields' names and values, in the order of their declaration."""
        kind: Any = type(self)
        for name, _ in _labels_of(kind):
            yield name, getattr(self, name)

    def sources(self) -> tuple[Node, ...]:
        """Return the nodes that this one is made from."""
        return self._sources

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.digest == self.digest

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        """The node without those behind it: a workflow may be a thousand nodes deep."""
        parts = [
            f"{name}={f'{type(value).__name__}(…)' if isinstance(value, Node) else repr(value)}"
            for name, value in self.fields()
        ]
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(frozen=True)
class Link:
    """A kind of parameter: a node of ``type``, which says what it makes; or None, if ``optional``."""

    type: type[Node]
    optional: bool = False

    def check(self, name: str, value: object) -> Any:
        """Return ``value``. Raises ``BadRequest`` if it makes something else."""
        if not isinstance(value, self.type) and not (self.optional and value is None):
            raise BadRequest(name, type(value).__name__, f"a node that makes {self.type.__name__}")
        return value


def link(type: type[Node], *, optional: bool = False) -> Any:
    """Declare a field that holds a node which makes ``type``. If ``optional``, its default is None."""
    metadata = {"kind": Link(type, optional), "help": ""}
    return dataclasses.field(default=None, metadata=metadata) if optional else dataclasses.field(metadata=metadata)


def in_order(*ends: Node) -> list[Node]:
    """Return all nodes that ``ends`` depend on and these themselves, each once and behind those that it is made
    from."""
    done: dict[bytes, Node] = {}
    stack = list(reversed(ends))
    while stack:
        node = stack[-1]
        waiting = [source for source in node._sources if source.digest not in done]
        if waiting:
            stack += reversed(waiting)
        else:
            done.setdefault(node.digest, stack.pop())
    return list(done.values())


@functools.cache
def _labels_of(kind: type) -> tuple[tuple[str, bytes], ...]:
    """The names of a class's fields, and what stands before their values in a digest."""
    return tuple((field.name, f"\0{field.name}\0".encode()) for field in dataclasses.fields(kind))


def _written(value: object) -> bytes:
    if isinstance(value, Node):
        return value.digest
    if isinstance(value, tuple):
        return b"(" + b",".join(map(_written, value)) + b")"
    return repr(value).encode("utf-8", "surrogatepass")
