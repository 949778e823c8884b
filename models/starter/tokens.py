"""Turns captions into CLIP's tokens, by the engine's own tokenizer, and finds which of the 49,408 tokens they use."""

import functools
import random

import torch
from torch import Tensor

from engine.text.prompt import chunks, token_ids
from models.starter import words
from models.starter.networks import END, POSITIONS, VOCABULARY

FILLER = 0.2  # the share of captions with words in them that no caption knows


def tokens_of(texts: list[str]) -> Tensor:
    """Return (B, 77) int64: start, text, end, then end tokens for the rest."""
    return torch.tensor([chunks(text)[0].tokens for text in texts])


def with_strange_words(text: str, rng: random.Random) -> list[int]:
    """Return the caption's tokens with words between them that mean nothing here, as people paste from elsewhere."""
    ids = token_ids(text)
    for _ in range(rng.choice((1, 2, 3, 5, 8, 15)) if rng.random() < FILLER else 0):
        ids.insert(rng.randint(0, len(ids)), rng.randrange(VOCABULARY - 2))
    ids = ids[: POSITIONS - 2]
    return [END - 1, *ids, *[END] * (POSITIONS - 1 - len(ids))]


@functools.cache
def known_tokens() -> Tensor:
    """Return (49408,) bool: the tokens of all words that captions are made of. The others' embeddings stay zero."""
    known = torch.zeros(VOCABULARY, dtype=torch.bool)
    known[[END - 1, END, *token_ids(" ".join(_texts(vars(words))) + " , ,, a")]] = True
    return known


def _texts(value: object) -> list[str]:
    """Return all strings in nested tuples and dicts, with what surrounds them in a caption."""
    if isinstance(value, str):
        return [value, f"{value},", value.replace("{}", "")]
    if isinstance(value, dict):
        return [text for key, item in value.items() if not str(key).startswith("__") for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, tuple) else []
