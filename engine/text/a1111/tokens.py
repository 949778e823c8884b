"""Words of an AUTOMATIC1111 prompt → CLIP's token ids, the text mended first as its tokenizer does.

Knows no weights and no chunks.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from engine.text.prompt import SPECIAL, token_ids
from engine.text.vocabulary import words


@functools.lru_cache(maxsize=4096)
def tokens_of(text: str) -> tuple[int, ...]:
    """Return the token ids of ``text``, without start and end.

    ``ftfy`` mends the text before: it straightens curly quotes, makes ligatures and full-width letters plain, decodes
    ``&amp;`` and repairs text that was read in a wrong encoding. ComfyUI's tokenizer does none of this.
    """
    parts = SPECIAL.split(text)
    return tuple(token_ids("".join(part if SPECIAL.fullmatch(part) else _mended(part) for part in parts)))


@functools.cache
def bracket_factors() -> Mapping[int, float]:
    """Return token id → the factor by which it changes the weight of all that follows, in the oldest way to weigh
    words: 1.1 for an opening round bracket or a closing square one in it, 1/1.1 for their counterparts. Tokens whose
    brackets cancel out are words."""
    found = {}
    for token, word in enumerate(words()):
        factor = 1.0
        for sign in word:
            factor = factor * 1.1 if sign in "(]" else factor / 1.1 if sign in ")[" else factor
        if factor != 1.0:
            found[token] = factor
    return found


def _mended(text: str) -> str:
    from ftfy import fix_text  # only here: most programs that use the engine read no such prompt

    return fix_text(text)
