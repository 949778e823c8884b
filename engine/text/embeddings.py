"""Textual-inversion embeddings (Gal et al. 2022, arXiv 2208.01618): vectors that stand in the place of tokens.

Knows their names in prompts, and ComfyUI's rules for these; knows no file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from engine.errors import BadRequest

if TYPE_CHECKING:
    from torch import Tensor

MARK = "embedding:"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Embedding:
    """What a file holds: float32 tensors (n, width), of one width or of several text encoders'."""

    parts: tuple[Tensor, ...]

    def vectors(self, width: int) -> Tensor:
        """Return those of this width, (n, width); where there are none, what there is, of another width."""
        import torch  # only here: a server that reads prompts needs none

        fitting = [part for part in self.parts if part.shape[1] == width]
        return torch.cat(fitting) if fitting else self.parts[0]


@dataclass(frozen=True)
class Vector:
    """One vector of an embedding, in the place of a token."""

    embedding: Embedding
    index: int
    width: int
    """The number of its features."""

    def features(self) -> Tensor:
        """Return the vector, (width,) float32 on the CPU."""
        return self.embedding.vectors(self.width)[self.index]


Lookup: TypeAlias = Callable[[str], Embedding | None]
"""The name of an embedding → what it stands for; None where there is no file of that name."""


@dataclass(frozen=True)
class Named:
    """An embedding's name as it stands in a prompt, and the words behind it."""

    name: str
    rest: str

    def spellings(self) -> Iterator[tuple[str, str]]:
        """Names to look for, in this order, and the words that stay: commas at its ends may not belong to the name."""
        yield self.name, self.rest
        stripped = self.name.strip(",")
        if stripped != self.name:
            yield stripped, f"{self.name[len(stripped) :]} {self.rest}"

    def found(self, lookup: Lookup | None) -> tuple[Embedding | None, str]:
        """Return what it stands for, and the words that stay; says so in the log where ``lookup`` knows no such
        name."""
        rest = self.rest
        for name, rest in self.spellings():
            embedding = lookup(name) if name and lookup is not None else None
            if embedding is not None:
                return embedding, rest
        if lookup is not None:
            _log.warning("no embedding is called %.80s: the name is left out of the prompt", self.name)
        return None, rest


def named(text: str, field: str) -> Iterator[str | Named]:
    """Cut the text of one weight into words and embeddings: ``a cat embedding:style, old``.

    A blank or the start of the text stands before the mark; without one it is ordinary text. Raises ``BadRequest``,
    naming ``field``, for a mark without a name.
    """
    first, *others = text.replace("\n" + MARK, " " + MARK).split(" " + MARK)
    pieces = [first, *(MARK + other for other in others)]
    for piece in pieces:
        if not piece.startswith(MARK):
            if piece:
                yield piece
            continue
        words = piece.removeprefix(MARK).split()
        if not words:
            raise BadRequest(field, MARK, "the name of an embedding behind it")
        yield Named(words[0], " ".join(words[1:]))
