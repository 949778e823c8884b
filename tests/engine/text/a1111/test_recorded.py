"""Prompts that AUTOMATIC1111 has read: their schedules, weights, tokens and embeddings are met exactly."""

from __future__ import annotations

import pytest
import torch

from engine.text.a1111.chunks import Vocabulary, chunks_of
from engine.text.a1111.emphasis import Weighted
from engine.text.a1111.reading import Reading
from engine.text.embeddings import Embedding, Vector
from tests.pack_a1111 import A1111Case, cases_of, reading_of

WIDTH = 768
LENGTHS = {"three": 3, "neg-long": 20, "old_style": 2, "single": 1}
EMBEDDINGS = {name: Embedding((torch.zeros(length, WIDTH),)) for name, length in LENGTHS.items()}
VOCABULARY = Vocabulary(EMBEDDINGS, WIDTH)
NAMES = {id(embedding): name for name, embedding in EMBEDDINGS.items()}

_PLACE = 0
"""What is recorded in the place of a vector's token."""


@pytest.mark.parametrize("case", cases_of("prompt"), ids=lambda case: case.name)
def test_texts_are_read_as_recorded(case: A1111Case) -> None:
    settings = reading_of(case)
    reading = Reading(emphasis=settings.emphasis, comma_backtrack=settings.comma_backtrack)
    for text, recorded in case.result["texts"].items():
        assert reading.weighted(text) == tuple(Weighted(each) for each in map(tuple, recorded["parsed"]))
        chunks = chunks_of(text, VOCABULARY, reading)
        assert [chunk.weights for chunk in chunks] == [tuple(each["multipliers"]) for each in recorded["chunks"]]
        for chunk, each in zip(chunks, recorded["chunks"], strict=True):
            vectors = [(place, token) for place, token in enumerate(chunk.tokens) if isinstance(token, Vector)]
            firsts = [[place - 1, NAMES[id(token.embedding)]] for place, token in vectors if token.index == 0]
            assert firsts == each["embeddings"]
            places = {place for place, _ in vectors}
            words = [(place, token) for place, token in enumerate(chunk.tokens) if place not in places]
            assert words == [(place, each["tokens"][place]) for place, _ in words]
