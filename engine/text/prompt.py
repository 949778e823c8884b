"""Prompt text → weighted tokens → chunks of 77.

Knows ComfyUI's rules for weights, embeddings and long prompts; knows no network and no file.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from engine.errors import BadRequest
from engine.text.embeddings import MARK, Lookup, Named, Vector, named
from engine.text.vocabulary import encoder

START, END = 49406, 49407
CHUNK = 77
ROOM = CHUNK - 2
MAX_NESTING = 100

_ESCAPED = {"\\)": "\ud800", "\\(": "\ud801"}  # halves of surrogate pairs, which a request's text never holds
SPECIAL = re.compile(r"(<\|startoftext\|>|<\|endoftext\|>)")
"""The words of the vocabulary that stand for the start and the end of a text."""

_KEPT_WHOLE_BELOW = 8


@dataclass(frozen=True)
class Chunk:
    """77 tokens (start, up to 75 of text, end, padding with the end token) and the weight of each."""

    tokens: tuple[int | Vector, ...]
    """The ids of CLIP's vocabulary, and vectors of embeddings."""
    weights: tuple[float, ...]


EMPTY = Chunk((START, *[END] * (CHUNK - 1)), (1.0,) * CHUNK)

_Token: TypeAlias = int | Vector
_Group: TypeAlias = list[tuple[_Token, float]]


def chunks(prompt: str, field: str = "prompt", lookup: Lookup | None = None, width: int = 0) -> tuple[Chunk, ...]:
    """Return the chunks of ``prompt``, at least one, for a text encoder with features of ``width``.

    Parentheses multiply the weight of what they hold by 1.1, ``(words:1.3)`` sets it; a group of equal weight
    with fewer than 8 tokens is never torn between two chunks, a longer one fills its chunk. ``embedding:name`` is the
    vectors that ``lookup`` gives, a group of their own; an unknown name is left out.

    Raises ``BadRequest``, naming ``field``, for a weight that is not finite, and parentheses more than 100 deep.
    """
    if not embedding_names(prompt, field):
        return _chunks(prompt, field)
    return _filled(list(_groups(prompt, field, lookup, width)), width)


def embedding_names(prompt: str, field: str = "prompt") -> tuple[Named, ...]:
    """Return the embeddings that ``prompt`` names. Raises what ``chunks`` raises."""
    if MARK not in prompt:
        return ()
    return tuple(
        piece for text, _ in weighted(prompt, field) for piece in named(text, field) if isinstance(piece, Named)
    )


@functools.lru_cache(maxsize=64)
def _chunks(prompt: str, field: str) -> tuple[Chunk, ...]:
    return _filled([[(token, weight) for token in token_ids(text)] for text, weight in weighted(prompt, field)])


def _groups(prompt: str, field: str, lookup: Lookup | None, width: int) -> Iterator[_Group]:
    for text, weight in weighted(prompt, field):
        for piece in named(text, field):
            words: str = piece if isinstance(piece, str) else ""
            if isinstance(piece, Named):
                embedding, words = piece.found(lookup)
                if embedding is not None:
                    count, own = embedding.vectors(width).shape
                    yield [(Vector(embedding, index, own), weight) for index in range(count)]
            if words:
                yield [(token, weight) for token in token_ids(words)]


def _filled(groups: Sequence[_Group], width: int = 0) -> tuple[Chunk, ...]:
    filled: list[_Group] = [[]]
    for group in groups:
        rest, torn = group, len(group) >= _KEPT_WHOLE_BELOW
        while len(rest) > (room := ROOM - len(filled[-1])):
            if torn:
                filled[-1].extend(rest[:room])
                rest = rest[room:]
            filled.append([])
        filled[-1].extend(rest)
    return tuple(_wrapped(content, width) for content in filled)


def _wrapped(content: _Group, width: int) -> Chunk:
    """A chunk of ``content``. Vectors of another width are left out, and what follows moves up; the weights do not."""
    fitting = [token for token, _ in content if isinstance(token, int) or token.width == width]
    return Chunk(
        (START, *fitting, *[END] * (CHUNK - 1 - len(fitting))),
        (1.0, *(weight for _, weight in content), *[1.0] * (CHUNK - 1 - len(content))),
    )


def weighted(prompt: str, field: str = "prompt") -> list[tuple[str, float]]:
    """Return ``prompt`` as (text, weight) pairs in reading order, escapes resolved."""
    for escape, mark in _ESCAPED.items():
        prompt = prompt.replace(escape, mark)
    return [(_unescaped(text), weight) for text, weight in _pairs(prompt, 1.0, 0, field)]


def _pairs(text: str, weight: float, depth: int, field: str) -> Iterator[tuple[str, float]]:
    if depth > MAX_NESTING:
        raise BadRequest(field, _unescaped(text), f"parentheses at most {MAX_NESTING} deep")
    for segment in _segments(text):
        if len(segment) >= 2 and segment[0] == "(" and segment[-1] == ")":
            inside, own = _group(segment[1:-1], weight)
            if not math.isfinite(own):
                raise BadRequest(field, _unescaped(segment), "finite weights")
            yield from _pairs(inside, own, depth + 1, field)
        else:
            yield segment, weight


def _segments(text: str) -> Iterator[str]:
    """``text`` cut before each outermost opening parenthesis and after the one that closes it.

    A closing parenthesis that was never opened lowers the depth too, so that the next opening one is plain text.
    """
    depth = start = 0
    for position, character in enumerate(text):
        if character == "(":
            if depth == 0 and position > start:
                yield text[start:position]
                start = position
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                yield text[start : position + 1]
                start = position + 1
    if start < len(text):
        yield text[start:]


def _group(inside: str, weight: float) -> tuple[str, float]:
    """What stands between two parentheses → its text and its weight: its own number, else 1.1 times the outer one."""
    text, colon, number = inside.rpartition(":")
    if colon and text:
        try:
            return text, float(number)
        except ValueError:
            pass
    return inside, weight * 1.1


def _unescaped(text: str) -> str:
    for escape, mark in _ESCAPED.items():
        text = text.replace(mark, escape[1])
    return text


def token_ids(text: str) -> list[int]:
    """CLIP's token ids of ``text``, without start and end. Lower-cased and normalised to NFC, as CLIP does."""
    encode, ids = encoder(), list[int]()
    for part in SPECIAL.split(unicodedata.normalize("NFC", text)):
        if SPECIAL.fullmatch(part):
            ids.append(START if "start" in part else END)
        elif part:
            ids.extend(encode(part))
    return ids
