"""How long a prompt is in tokens, for people who write one. Knows no network and no file.

Embeddings count as their names, since their vectors are in files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.text.a1111 import emphasis
from engine.text.a1111.composition import parts_of, without_comments
from engine.text.a1111.networks import without_tags
from engine.text.a1111.tokens import tokens_of
from engine.text.prompt import ROOM, chunks, token_ids, weighted

__all__ = ["ROOM", "TokenCount", "count_tokens"]


@dataclass(frozen=True, kw_only=True)
class TokenCount:
    """The length of a prompt; of one of several parts (``AND``), that of the longest."""

    tokens: int
    """Tokens of the words, without start, end and padding."""
    chunks: int
    """Chunks of ``ROOM`` tokens that they fill, at least one."""


def count_tokens(prompt: str, syntax: str = "comfyui") -> TokenCount:
    """Count the tokens of ``prompt`` as ``syntax``, one of a request's ``prompt_syntax``, reads it.

    Raises ``BadRequest`` for a prompt that cannot be read.
    """
    if syntax == "comfyui":
        tokens = sum(len(token_ids(text)) for text, _ in weighted(prompt))
        return TokenCount(tokens=tokens, chunks=len(chunks(prompt)))
    words, _ = without_tags(without_comments(prompt))
    return max((_part(part.text) for part in parts_of(words)), key=lambda count: (count.chunks, count.tokens))


def _part(text: str) -> TokenCount:
    """Count one part. ``BREAK`` ends a chunk; of ``[a:b:0.5]`` all words count."""
    lengths = [0]
    for words, weight in emphasis.weighted(text, "prompt"):
        if words == "BREAK" and weight == emphasis.BREAK_WEIGHT:
            lengths.append(0)
        else:
            lengths[-1] += len(tokens_of(words))
    return TokenCount(tokens=sum(lengths), chunks=sum(max(1, math.ceil(length / ROOM)) for length in lengths))
