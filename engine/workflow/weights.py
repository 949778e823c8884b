"""Which weights the nodes of a workflow stand for: values, so that equal weights are loaded and held once.

Knows no kind of weights, no file and no tensor.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, cast

from engine.errors import BadRequest
from engine.parameters import FileName
from engine.tensors.kinds import FileKind
from engine.workflow.node import Node

DEEPEST = 100
"""Nodes for weights that may stand one on another: a stack of adapters, merges of merges."""

LARGEST = 1000
"""Nodes for weights that one may be made from in all, each counted as often as it is used: so often is it computed."""


class Weights(Node):
    """A node that stands for tensors from files, which stay in memory between workflows, by the node's value.

    Its fields of the kind ``FileName`` name files; its links lead to other weights that it is made from. What loads it
    is registered in ``engine.running.residents``.
    """

    def without_effect(self) -> Node | None:
        """Return the node that this one equals, where its parameters change nothing."""
        return None


def weights_of(nodes: Iterable[Node]) -> dict[Node, Weights]:
    """Return the weights that each node stands for, of ``nodes`` for models, text encoders and what else is loaded.

    ``nodes``: each behind those that it is made from. What only changes how weights are used (an earlier last layer,
    a patch of the sampling) stands for the weights of the node that it changes. Raises ``BadRequest``, with the node at
    fault, for more than ``DEEPEST`` nodes for weights, one on another, and for one that is made from more than
    ``LARGEST``: a few merges, each of the one before with itself, could ask for billions.
    """
    found: dict[Node, Weights] = {}
    depths: dict[Weights, int] = {}
    sizes: dict[Weights, int] = {}
    for node in nodes:
        if not isinstance(node, Weights):
            for source in node.sources():
                if source in found and _alike(node, source):
                    found[node] = found[source]
                    break
            continue
        same = node.without_effect()
        if same is not None:
            found[node] = found[same]
            continue
        links = {name: found[value] for name, value in node.fields() if isinstance(value, Node)}
        weights = found[node] = dataclasses.replace(cast(Any, node), **links) if links else node
        depths[weights] = 1 + max((depths[each] for each in links.values()), default=0)
        sizes[weights] = 1 + sum(sizes[each] for each in links.values())
        if depths[weights] > DEEPEST or sizes[weights] > LARGEST:
            allowed = f"at most {DEEPEST} nodes for weights, one on another, and {LARGEST} in all"
            raise BadRequest(next(iter(links)), type(node).__name__, allowed, node=node)
    return found


def used_weights(nodes: Iterable[Node], weights: Mapping[Node, Weights]) -> tuple[Weights, ...]:
    """Return the weights that nodes of other kinds use, each once; not those that only other weights are made from."""
    used = dict.fromkeys(
        weights[source]
        for node in nodes
        if not isinstance(node, Weights)
        for source in node.sources()
        if source in weights
    )
    return tuple(used)


FindFile: TypeAlias = Callable[[str | None, FileKind], str]
"""A name, and the kind of file that it is the name of → the file's path."""


def located(node: Weights, find: FindFile) -> Weights:
    """Return ``node`` with paths in place of names, so that what has two names is one thing. Raises what ``find``
    raises, with the node at fault."""
    changes: dict[str, Any] = {}
    for name, value in node.fields():
        if isinstance(value, Weights):
            changes[name] = located(value, find)
        elif (kind := file_kind(node, name)) is not None:
            try:
                changes[name] = find(value, kind)
            except BadRequest as error:
                raise type(error)(name, value, error.allowed, node=node) from None
    replaced: Weights = dataclasses.replace(cast(Any, node), **changes)
    return replaced


def paths_of(node: Weights) -> tuple[str, ...]:
    """Return the paths that a ``located`` node and those behind it are made from, its own first."""
    own = [value for name, value in node.fields() if file_kind(node, name) is not None]
    behind = [path for _, value in node.fields() if isinstance(value, Weights) for path in paths_of(value)]
    return tuple(dict.fromkeys(own + behind))


def file_kind(node: Node, field: str) -> FileKind | None:
    """Return the kind of file that a field names: ``checkpoints``, ``loras``, …; None for a field that names none."""
    kind = next(each for each in dataclasses.fields(cast(Any, node)) if each.name == field).metadata.get("kind")
    return kind.folder if isinstance(kind, FileName) else None


def _alike(node: Node, source: Node) -> bool:
    """Whether both make the same kind of thing: a model, a text encoder."""
    kind: Any = type(node)
    return not _made_by(kind).isdisjoint(type(source).__mro__)


@functools.cache
def _made_by(kind: type) -> frozenset[type]:
    """The kinds of thing that nodes of a class make."""
    return frozenset(each for each in kind.__mro__ if issubclass(each, Node)) - {Node, Weights}
