"""Embeddings in prompts: how they are named, and how their vectors take the place of tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch

from engine.text.embeddings import Embedding, Named, Vector, named
from engine.text.prompt import CHUNK, END, START, Chunk, chunks, embedding_names, token_ids

WIDTH = 4


def embedding(count: int, width: int = WIDTH) -> Embedding:
    return Embedding((torch.arange(count * width, dtype=torch.float32).reshape(count, width),))


def lookup(**known: Embedding) -> Callable[[str], Embedding | None]:
    return known.get


def encoded(prompt: str, **known: Embedding) -> tuple[Chunk, ...]:
    return chunks(prompt, lookup=lookup(**known), width=WIDTH)


def words(chunk: Chunk) -> list[int | str]:
    """The tokens of a chunk before its padding, vectors as ``v0``, ``v1``, …"""
    inner = [f"v{token.index}" if isinstance(token, Vector) else token for token in chunk.tokens[1:]]
    while inner and inner[-1] == END:
        inner.pop()
    return inner


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a cat", ["a cat"]),
        ("embedding:x", [Named("x", "")]),
        ("a embedding:x b c", ["a", Named("x", "b c")]),
        ("a\nembedding:x  b\n c", ["a", Named("x", "b c")]),
        ("embedding:x embedding:y, z", [Named("x", ""), Named("y,", "z")]),
        ("a,embedding:x", ["a,embedding:x"]),
    ],
)
def test_text_is_cut_at_marks_with_a_blank_before_them(text: str, pieces: list[str | Named]) -> None:
    assert list(named(text, "prompt")) == pieces


def test_vectors_stand_between_the_words_with_their_groups_weight() -> None:
    (chunk,) = encoded("a cat, (embedding:x:1.2) dog", x=embedding(2))
    assert words(chunk) == [*token_ids("a cat,"), "v0", "v1", *token_ids("dog")]
    place = 1 + len(token_ids("a cat,"))
    assert chunk.weights[place - 1 : place + 3] == (1.0, 1.2, 1.2, 1.0)


def test_a_comma_behind_the_name_is_text() -> None:
    assert words(encoded("embedding:x, sitting", x=embedding(1))[0]) == ["v0", *token_ids(", sitting")]
    assert words(encoded("embedding:x, sitting", **{"x,": embedding(1)})[0]) == ["v0", *token_ids("sitting")]


def test_an_unknown_name_vanishes_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        (chunk,) = encoded("(embedding:missing one:1.3)")
    assert words(chunk) == token_ids("one")
    assert chunk.weights[1] == 1.3
    assert "missing" in caplog.text


def test_few_vectors_move_to_the_next_chunk_and_many_are_cut() -> None:
    text = " ".join(["cat"] * 70)
    few = encoded(f"{text} embedding:x", x=embedding(7))
    assert [len(words(chunk)) for chunk in few] == [70, 7]
    many = encoded(f"{text} embedding:x", x=embedding(20))
    assert [len(words(chunk)) for chunk in many] == [75, 15]
    assert words(many[1])[0] == "v5"


def test_vectors_of_another_width_are_left_out_after_chunking() -> None:
    (chunk,) = encoded("a embedding:x (cat:1.5)", x=embedding(2, width=8))
    assert chunk.tokens == (START, *token_ids("a cat"), *[END] * (CHUNK - 3))
    assert [place for place, weight in enumerate(chunk.weights) if weight == 1.5] == [4]  # where cat stood


def test_of_a_file_for_several_encoders_those_that_fit_are_taken() -> None:
    both = Embedding((torch.zeros(1, 8), torch.ones(2, WIDTH)))
    assert torch.equal(both.vectors(WIDTH), torch.ones(2, WIDTH))


def test_the_names_in_a_prompt_are_known_before_anything_is_loaded() -> None:
    found = embedding_names("a (embedding:x:1.1), embedding:style/y, b")
    assert [each.name for each in found] == ["x", "style/y,"]
    assert list(found[1].spellings()) == [("style/y,", "b"), ("style/y", ", b")]
