"""CLIP's vocabulary gives the ids that CLIP was trained with, on every Python and without a network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.text import vocabulary
from engine.text.vocabulary import encoder

Encoder = Callable[[str], list[int]]


@pytest.fixture(scope="module")
def reference() -> Encoder:
    """The tokenizer of transformers, on the same merges."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    merges, letters = vocabulary._merges(), vocabulary._byte_letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    ids = {word: number for number, word in enumerate(words)}
    backend = CLIPTokenizer(vocab=ids, merges=merges).backend_tokenizer
    return lambda text: list(backend.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("A  PHOTO of\na cat", [320, 1125, 539, 320, 2368]),
        ("hello world!", [3306, 1002, 256]),
        ("", []),
        (" ", []),
    ],
)
def test_ids_are_the_published_ones(text: str, ids: list[int]) -> None:
    assert encoder()(text) == ids


def test_the_vocabulary_has_all_of_clips_words() -> None:
    merges = vocabulary._merges()
    assert len(merges) == 49408 - 2 * 256 - 2
    assert (merges[0], merges[-1]) == (("i", "n"), ("jeky", "ll</w>"))
    assert len(set(vocabulary._byte_letters())) == 256
    assert encoder()("<|startoftext|><|endoftext|>") == [49406, 49407]


@given(st.text(max_size=80))
@example("it's 1234 o'clock ''s")
@example("naïve café cafe\u0301 ﬁ ǅ")
@example("日本の風景 🌌✨")
@example("a_b#c@d <|endoftext|> b")
def test_any_text_has_the_ids_of_transformers(reference: Encoder, text: str) -> None:
    assert encoder()(text) == reference(text)


def test_it_needs_neither_torch_nor_transformers() -> None:
    code = """
import sys
from engine.text.vocabulary import encoder
assert encoder()("cat") == [2368]
assert not {"torch", "transformers", "huggingface_hub"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
