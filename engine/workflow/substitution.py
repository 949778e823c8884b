"""A workflow's nodes, with others in the place of some of them. Knows no kind of node."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from engine.workflow.node import Node, in_order

N = TypeVar("N", bound=Node)


def substituted(end: N, others: Mapping[Node, Node]) -> N:
    """Return ``end`` as it would be, had it been made from ``others``' values where it is made from their keys.

    What a value is made from stays as it is. Raises ``BadRequest`` where a value makes something else than its key.
    """
    made = dict(others)
    for node in in_order(end):
        if node not in made:
            fields = {name: _replaced(value, made) for name, value in node.fields()}
            changed = any(fields[name] is not value for name, value in node.fields())
            made[node] = dataclasses.replace(cast(Any, node), **fields) if changed else node
    return cast(N, made[end])


def _replaced(value: Any, made: Mapping[Node, Node]) -> Any:
    if isinstance(value, tuple) and any(isinstance(each, Node) and made[each] is not each for each in value):
        return tuple(made[each] if isinstance(each, Node) else each for each in value)
    return made[value] if isinstance(value, Node) else value
