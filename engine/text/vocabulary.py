"""CLIP's vocabulary: text → token ids, by byte-pair encoding.

It comes with a package on Python 3.10 to 3.12, and from the model hub on later ones.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

from engine.errors import EngineError

HUB_NAME = "openai/clip-vit-large-patch14"
_FILES = ("vocab.json", "merges.txt")


@functools.cache
def encoder() -> Callable[[str], list[int]]:
    """What turns text into CLIP's token ids, without start and end; the text is normalised to NFC.

    Raises ``EngineError`` where the vocabulary is out of reach.
    """
    try:
        from instant_clip_tokenizer import Tokenizer
    except ImportError:
        return _encoder_from_hub()
    encode: Callable[[str], list[int]] = Tokenizer().encode
    return encode


def _encoder_from_hub() -> Callable[[str], list[int]]:
    # From the module itself: transformers replaces its package by another object at the end of the import, so that
    # a thread that waited for it finds nothing in what it was given.
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    try:
        # CLIPTokenizer.from_pretrained makes do with an empty vocabulary where there are no files.
        vocabulary, merges = (_file_from_hub(name).read_text(encoding="utf-8") for name in _FILES)
    except Exception as error:
        raise EngineError(
            "CLIP's vocabulary is out of reach: the package instant-clip-tokenizer, which carries it, has wheels for "
            f"Python 3.10 to 3.12 only, and {' and '.join(_FILES)} of the model hub's {HUB_NAME} could not be had: "
            f"{error}"
        ) from error
    pairs = [tuple(line.split()) for line in merges.splitlines() if line.strip() and not line.startswith("#version")]
    backend = CLIPTokenizer(vocab=json.loads(vocabulary), merges=pairs).backend_tokenizer

    def encode(text: str) -> list[int]:
        ids: list[int] = backend.encode(text, add_special_tokens=False).ids
        return ids

    return encode


def _file_from_hub(name: str) -> Path:
    """From the hub's cache, without asking the network, or downloaded."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(HUB_NAME, name, local_files_only=True))
    except LocalEntryNotFoundError:
        return Path(hf_hub_download(HUB_NAME, name))
