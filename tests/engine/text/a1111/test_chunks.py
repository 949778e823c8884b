"""Chunks of AUTOMATIC1111's prompts: what fills one, what moves to the next, and where embeddings stand."""

from __future__ import annotations

import torch

from engine.text.a1111.chunks import Vocabulary, chunks_of, names_in
from engine.text.a1111.reading import Reading
from engine.text.a1111.tokens import tokens_of
from engine.text.embeddings import Embedding, Vector
from engine.text.prompt import CHUNK, END, START, Chunk, token_ids

WIDTH = 4
THREE, LONG, WIDE = (Embedding((torch.ones(count, width),)) for count, width in ((3, WIDTH), (20, WIDTH), (2, 8)))
NAMES = {"three": THREE, "neg-long": LONG, "wide": WIDE}
VOCABULARY = Vocabulary(NAMES, WIDTH)
READING = Reading()
WORDS = "river paper field door night wood silver roof cloud bottle"
(COMMA,) = token_ids(",")


def words(count: int) -> str:
    return " ".join((WORDS.split() * 30)[:count])


def lengths(text: str) -> list[int]:
    """Return the number of tokens in each chunk that are not padding."""
    return [
        len(list(filter(lambda token: token != END, chunk.tokens))) - 1
        for chunk in chunks_of(text, VOCABULARY, READING)
    ]


def vectors(chunk: Chunk) -> list[tuple[int, Embedding]]:
    """Return where in a chunk embeddings begin."""
    return [
        (place - 1, token.embedding)
        for place, token in enumerate(chunk.tokens)
        if isinstance(token, Vector) and token.index == 0
    ]


def test_a_chunk_is_77_tokens_and_the_empty_prompt_has_one() -> None:
    (empty,) = chunks_of("", VOCABULARY, READING)
    assert empty.tokens == (START, *[END] * 76)
    for chunk in chunks_of(words(200), VOCABULARY, READING):
        assert (len(chunk.tokens), len(chunk.weights)) == (CHUNK, CHUNK)


def test_75_tokens_are_one_chunk() -> None:
    assert [lengths(words(count)) for count in (74, 75, 76, 150, 151)] == [[74], [75], [75, 1], [75, 75], [75, 75, 1]]


def test_words_behind_a_comma_near_the_end_move_to_the_next_chunk() -> None:
    assert lengths(f"{words(64)}, {words(15)}") == [65, 15]  # the comma and its ten words fill the chunk
    assert lengths(f"{words(55)}, {words(30)}") == [56, 30]  # just within 20 tokens
    assert lengths(f"{words(54)}, {words(30)}") == [75, 10]  # just beyond
    assert lengths(f"{words(75)}, a") == [75, 2]  # a comma itself moves nothing


def test_weights_move_along() -> None:
    first, second = chunks_of(f"{words(64)}, ({words(15)}:1.5)", VOCABULARY, READING)
    assert set(first.weights) == {1.0}
    assert second.weights == (1.0, *[1.5] * 15, *[1.0] * 61)


def test_break_ends_a_chunk() -> None:
    assert lengths("river BREAK paper field") == [1, 2]
    assert lengths("BREAK river") == [0, 1]
    assert lengths("river BREAK") == [1]
    assert lengths("(river BREAK paper)") == [3]  # in brackets it is a word


def test_embeddings_are_found_by_their_bare_names() -> None:
    (chunk,) = chunks_of("a photo of THREE, neg - long", VOCABULARY, READING)
    assert vectors(chunk) == [(3, THREE), (7, LONG)]
    assert vectors(chunks_of("threesome wide", VOCABULARY, READING)[0]) == []  # within a word; of another width


def test_an_embedding_has_the_weight_of_its_name() -> None:
    (chunk,) = chunks_of("(three:1.3) river", VOCABULARY, READING)
    assert chunk.weights[:6] == (1.0, 1.3, 1.3, 1.3, 1.0, 1.0)


def test_an_embedding_is_not_torn() -> None:
    first, second = chunks_of(f"{words(74)} three river", VOCABULARY, READING)
    assert (vectors(first), vectors(second)) == ([], [(0, THREE)])


def test_an_embedding_behind_a_comma_stays_when_the_words_around_it_move() -> None:
    first, second = chunks_of(f"{words(60)}, three {words(20)}", VOCABULARY, READING)
    assert (vectors(first), vectors(second)) == ([(61, THREE)], [])


def test_names_are_looked_for_before_files_are_loaded() -> None:
    names = list(NAMES)
    assert list(names_in(["a (three:1.2)", "threesome"], names, READING)) == ["three"]
    assert list(names_in(["neg-", "long"], names, READING)) == []


def test_a_chunk_ends_at_a_comma_that_is_near_enough() -> None:
    def cut(backtrack: int) -> int:
        first, _ = chunks_of(f"{words(64)}, {words(30)}", VOCABULARY, Reading(comma_backtrack=backtrack))
        return first.tokens.index(END) - 1

    assert [cut(backtrack) for backtrack in (0, 10, 11, 75)] == [75, 75, 65, 65]


def test_brackets_are_text_where_there_is_no_emphasis() -> None:
    (chunk,) = chunks_of("(river BREAK paper:1.3)", VOCABULARY, Reading(emphasis="none"))
    assert set(chunk.weights) == {1.0}
    assert chunk.tokens[: chunk.tokens.index(END)] == (START, *token_ids("(river BREAK paper:1.3)"))
    assert list(names_in(["a (three:1.2)"], ["three:1.2"], Reading(emphasis="none"))) == ["three:1.2"]


def test_the_oldest_way_weighs_by_tokens_with_brackets() -> None:
    old = Reading(old_emphasis=True)
    (chunk,) = chunks_of("(a river) [paper] ((field", VOCABULARY, old)
    assert chunk.tokens[1:5] == tuple(token_ids("a river paper field"))
    assert [round(weight, 4) for weight in chunk.weights[1:6]] == [1.1, 1.1, round(1 / 1.1, 4), 1.21, 1.0]
    (cut,) = chunks_of(f"{words(74)} three BREAK river", VOCABULARY, old)
    assert (len(cut.tokens), cut.tokens[75]) == (CHUNK, Vector(THREE, 0, WIDTH))


def test_text_is_mended_before_it_is_cut_into_tokens() -> None:
    assert tokens_of("it\u2019s \ufb01ne \uff21\uff22\uff23 &amp;") == tuple(token_ids("it's fine ABC &"))
    assert tokens_of("a<|endoftext|>b") == tuple(token_ids("a<|endoftext|>b"))
