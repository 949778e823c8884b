"""Turns text into CLIP's token ids by byte-pair encoding, with the vocabulary that ships with the engine.

Knows no prompt syntax, no chunks and no text encoder.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

_MERGES = Path(__file__).parent / "merges.txt"
_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
"""What CLIP takes for a word: a contraction's end, letters, one digit, or a run of other signs."""


@functools.cache
def encoder() -> Callable[[str], list[int]]:
    """Return the function that turns text into CLIP's token ids, without start and end of text.

    It lowercases the text and normalises it to NFC. Source: Radford et al., Learning Transferable Visual Models From
    Natural Language Supervision (arXiv 2103.00020), and its published vocabulary.
    """
    vocabulary = {word: number for number, word in enumerate(words())}
    model = BPE(vocabulary, _merges(), end_of_word_suffix=_WORD_END, unk_token=_END)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in (_START, _END)])

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    return encode


def words() -> list[str]:
    """Return what each token id stands for: letters of ``_byte_letters``, ``</w>`` at the end of a word."""
    letters = _byte_letters()
    return [*letters, *(letter + _WORD_END for letter in letters), *map("".join, _merges()), _START, _END]


def _merges() -> list[tuple[str, str]]:
    """Read the pairs that are merged, the most frequent first; the file opens with their licence."""
    _, _, lines = _MERGES.read_text(encoding="utf-8").partition("\n---\n")
    pairs = (line.split() for line in lines.splitlines())
    return [(first, second) for first, second in pairs]


def _byte_letters() -> list[str]:
    """Return the letter that stands for each byte, in the vocabulary's order: printable bytes stand for themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(256 - len(printable))]
