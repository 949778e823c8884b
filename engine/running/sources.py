"""What resident things are made from, as values. Knows no pool, and nothing of what is made."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Stamp:
    """What tells a file from the one that replaced it."""

    path: Path
    """Resolved."""
    changed_ns: int
    size: int


@dataclass(frozen=True)
class Source:
    """What one resident thing is made from. Equal sources are one thing."""

    key: Hashable
    stamps: tuple[Stamp, ...]
    """What tells whether a file has changed, for every file that it is made from."""
    bases: tuple[Source, ...] = ()
    """What it shares tensors with: resident as long as it is."""
    what: Any = field(default=None, compare=False)
    """What it is, for the maker. Sources of one ``key`` may differ in it, in the name of a file say."""

    def __str__(self) -> str:
        return " + ".join(stamp.path.name for stamp in self.stamps)


def with_bases(sources: Sequence[Source]) -> tuple[Source, ...]:
    """Return ``sources`` with their bases, each once and behind its own bases."""
    found: dict[Source, None] = {}
    for source in sources:
        found |= dict.fromkeys((*with_bases(source.bases), source))
    return tuple(found)
