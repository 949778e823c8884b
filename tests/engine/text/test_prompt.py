"""Prompts: weights, escapes, chunks, tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import BadRequest
from engine.text.prompt import CHUNK, EMPTY, END, ROOM, START, chunks, token_ids, weighted


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("plain", [("plain", 1)]),
        ("", []),
        ("()", []),
        ("(a)", [("a", 1.1)]),
        ("((a) b)", [("a", 1.21), (" b", 1.1)]),
        ("(a:1.3)", [("a", 1.3)]),
        ("(a:0)", [("a", 0)]),
        ("(a:-1)", [("a", -1)]),
        ("(soft (warm:1.3) light:0.8)", [("soft ", 0.8), ("warm", 1.3), (" light", 0.8)]),
        ("((a:1.5))", [("a", 1.5)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(a:b:1.2)", [("a:b", 1.2)]),
        ("(:1.2)", [(":1.2", 1.1)]),
        ("[a] b", [("[a] b", 1)]),
        ("(a", [("(a", 1)]),
        ("(a (b:2)", [("a ", 2), ("(b", 2)]),
        ("((a)", [("(a", 1.1)]),
        ("a) (b:2)", [("a) (b:2)", 1)]),
        (r"\(a\) (b\):2)", [("(a) ", 1), ("b)", 2)]),
        ("a:2", [("a:2", 1)]),
    ],
)
def test_weights(prompt: str, expected: list[tuple[str, float]]) -> None:
    found = weighted(prompt)
    assert [text for text, _ in found] == [text for text, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected])


@pytest.mark.parametrize("prompt", ["(a:nan)", "(a:inf)", "(a:-1e999)", "((a) b:1.7e308)", "(" * 200 + "a" + ")" * 200])
def test_weights_that_are_no_finite_numbers_are_refused(prompt: str) -> None:
    with pytest.raises(BadRequest) as caught:
        chunks(prompt, "negative_prompt")
    assert caught.value.field == "negative_prompt"


def test_a_mark_without_a_name_is_refused() -> None:
    with pytest.raises(BadRequest, match="embedding:"):
        chunks("a cat, embedding:")


def test_the_word_embedding_alone_is_text() -> None:
    assert len(chunks("an embedding, notembedding:x")) == 1


def test_the_empty_prompt_is_one_empty_chunk() -> None:
    assert chunks("") == (EMPTY,)
    assert EMPTY.tokens == (START,) + (END,) * 76


def test_tokens_are_clips() -> None:
    assert token_ids("a photo of a cat") == [320, 1125, 539, 320, 2368]
    assert token_ids("CAFE\u0301") == token_ids("café") == [15304]
    assert token_ids("<|endoftext|>cat<|startoftext|>") == [END, 2368, START]


def test_75_tokens_fill_a_chunk_and_one_more_opens_the_next() -> None:
    word = "cat "
    full, over = chunks(word * ROOM), chunks(word * (ROOM + 1))
    assert (len(full), len(over)) == (1, 2)
    assert full[0].tokens == (START, *[2368] * ROOM, END)
    assert over[1].tokens == (START, 2368, *[END] * 75)


def test_a_short_group_moves_whole_and_a_long_one_is_torn() -> None:
    filler = "(" + "cat " * 71 + ":1.1)"  # leaves room for four
    kept_whole = chunks(filler + "dog " * 7)
    assert [chunk.tokens.count(1929) for chunk in kept_whole] == [0, 7]
    torn = chunks(filler + "dog " * 8)
    assert [chunk.tokens.count(1929) for chunk in torn] == [4, 4]


def test_weights_stay_with_their_tokens_across_chunks() -> None:
    for chunk in chunks("cat " * 70 + "(" + "dog " * 30 + ":1.5) fox"):
        for token, weight in zip(chunk.tokens, chunk.weights, strict=True):
            assert weight == (1.5 if token == 1929 else 1.0)


@given(st.text() | st.text(alphabet="()\\:.1a ", max_size=60))
def test_any_text_gives_whole_chunks_or_our_own_error(prompt: str) -> None:
    try:
        parts = chunks(prompt)
    except BadRequest as error:
        assert error.field == "prompt"
        return
    assert parts
    for chunk in parts:
        assert len(chunk.tokens) == len(chunk.weights) == CHUNK
        assert chunk.tokens[0] == START
        assert chunk.tokens[-1] == END
