"""How messages name a place in a graph, and what can be a node's id and a slot's index."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from engine.errors import BadRequest

_MOST_CLASSES = 20
"""The most classes that a message lists."""


def shown(text: str) -> str:
    """Return text from a file fit to stand in a message: short, and without control characters."""
    return text if len(text) <= 60 and text.isprintable() else ascii(text[:60])[1:-1]


def place(node_id: str, node_class: str, name: str = "") -> str:
    """Return the name of a place in a graph: ``workflow node 3 (KSampler) steps``."""
    return f"workflow node {shown(node_id)} ({shown(node_class)}) {shown(name)}".rstrip()


def node_id(value: object) -> str | None:
    """Return a node's or link's id as text (files write 3 as well as "3"), or None for what cannot be one."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return str(value)
    return None


def slot_index(value: object) -> int | None:
    """Return a slot's index, or None for what cannot be one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def no_output(classes: Iterable[str], known: Collection[str], outputs: Collection[str]) -> BadRequest:
    """Return the mistake of a graph of ``classes`` in which none of the classes ``outputs`` is active.

    It names those that are not ``known``: one of them is probably the output node of another program.
    """
    there = sorted({shown(name) for name in classes})
    unknown = [name for name in there if name not in known]
    more = f"; not known here: {', '.join(unknown[:_MOST_CLASSES])}" if unknown else ""
    allowed = f"a graph with an active output node: {' or '.join(outputs)}{more}"
    return BadRequest("workflow", ", ".join(there[:_MOST_CLASSES]), allowed)
