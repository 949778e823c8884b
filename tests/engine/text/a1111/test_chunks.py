"""Chunks of AUTOMATIC1111's prompts: what fills one, what moves to the next, and where embeddings stand."""

from __future__ import annotations

import torch

from engine.text.a1111.chunks import Vocabulary, chunks_of, names_in
from engine.text.embeddings import Embedding, Vector
from engine.text.prompt import CHUNK, END, START, Chunk, token_ids

WIDTH = 4
THREE, LONG, WIDE = (Embedding((torch.ones(count, width),)) for count, width in ((3, WIDTH), (20, WIDTH), (2, 8)))
NAMES = {"three": THREE, "neg-long": LONG, "wide": WIDE}
VOCABULARY = Vocabulary(NAMES, WIDTH)
WORDS = "river paper field door night wood silver roof cloud bottle"
(COMMA,) = token_ids(",")


def words(count: int) -> str:
    return " ".join((WORDS.split() * 30)[:count])


def lengths(text: str) -> list[int]:
    """Return the number of tokens in each chunk that are not padding."""
    return [len(list(filter(lambda token: token != END, chunk.tokens))) - 1 for chunk in chunks_of(text, VOCABULARY)]


def vectors(chunk: Chunk) -> list[tuple[int, Embedding]]:
    """Return where in a chunk embeddings begin."""
    return [
        (place - 1, token.embedding)
        for place, token in enumerate(chunk.tokens)
        if isinstance(token, Vector) and token.index == 0
    ]


def test_a_chunk_is_77_tokens_and_the_empty_prompt_has_one() -> None:
    (empty,) = chunks_of("", VOCABULARY)
    assert empty.tokens == (START, *[END] * 76)
    for chunk in chunks_of(words(200), VOCABULARY):
        assert (len(chunk.tokens), len(chunk.weights)) == (CHUNK, CHUNK)


def test_75_tokens_are_one_chunk() -> None:
    assert [lengths(words(count)) for count in (74, 75, 76, 150, 151)] == [[74], [75], [75, 1], [75, 75], [75, 75, 1]]


def test_words_behind_a_comma_near_the_end_move_to_the_next_chunk() -> None:
    assert lengths(f"{words(64)}, {words(15)}") == [65, 15]  # the comma and its ten words fill the chunk
    assert lengths(f"{words(55)}, {words(30)}") == [56, 30]  # just within 20 tokens
    assert lengths(f"{words(54)}, {words(30)}") == [75, 10]  # just beyond
    assert lengths(f"{words(75)}, a") == [75, 2]  # a comma itself moves nothing


def test_weights_move_along() -> None:
    first, second = chunks_of(f"{words(64)}, ({words(15)}:1.5)", VOCABULARY)
    assert set(first.weights) == {1.0}
    assert second.weights == (1.0, *[1.5] * 15, *[1.0] * 61)


def test_break_ends_a_chunk() -> None:
    assert lengths("river BREAK paper field") == [1, 2]
    assert lengths("BREAK river") == [0, 1]
    assert lengths("river BREAK") == [1]
    assert lengths("(river BREAK paper)") == [3]  # in brackets it is a word


def test_embeddings_are_found_by_their_bare_names() -> None:
    (chunk,) = chunks_of("a photo of THREE, neg - long", VOCABULARY)
    assert vectors(chunk) == [(3, THREE), (7, LONG)]
    assert vectors(chunks_of("threesome wide", VOCABULARY)[0]) == []  # within a word; of another width


def test_an_embedding_has_the_weight_of_its_name() -> None:
    (chunk,) = chunks_of("(three:1.3) river", VOCABULARY)
    assert chunk.weights[:6] == (1.0, 1.3, 1.3, 1.3, 1.0, 1.0)


def test_an_embedding_is_not_torn() -> None:
    first, second = chunks_of(f"{words(74)} three river", VOCABULARY)
    assert (vectors(first), vectors(second)) == ([], [(0, THREE)])


def test_an_embedding_behind_a_comma_stays_when_the_words_around_it_move() -> None:
    first, second = chunks_of(f"{words(60)}, three {words(20)}", VOCABULARY)
    assert (vectors(first), vectors(second)) == ([(61, THREE)], [])


def test_names_are_looked_for_before_files_are_loaded() -> None:
    names = list(NAMES)
    assert list(names_in(["a (three:1.2)", "threesome"], names)) == ["three"]
    assert list(names_in(["neg-", "long"], names)) == []
