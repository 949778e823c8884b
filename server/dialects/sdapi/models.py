"""Checkpoints as AUTOMATIC1111 names them: by title ("name.safetensors [hash]"), name, file or hash."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from engine import UnknownCheckpoint
from server.backends.checkpoints import ModelInfo

_HASH = re.compile(r"[0-9a-fA-F]{4,64}")


def title(info: ModelInfo) -> str:
    """Return the title that clients show and send back."""
    return f"{info.file} [{info.short_hash}]" if info.short_hash else info.file


def model_titled(wanted: object, models: Sequence[ModelInfo], place: str) -> ModelInfo:
    """Find the model that ``wanted`` names. A title's hash must be the file's, where that is known.

    Unlike AUTOMATIC1111, a part of a name matches nothing. Raises ``UnknownCheckpoint`` on ``place``, with the names
    that are there.
    """
    if isinstance(wanted, str):
        for info in models:
            if wanted in _names(info):
                return info
        name, _, rest = wanted.rpartition("[")
        name, digest = name.rstrip(), rest.removesuffix("]").lower()
        if rest.endswith("]") and _HASH.fullmatch(digest):
            for info in models:
                if name in (info.file, info.name) and _may_have(info, digest):
                    return info
    titles = [title(info) for info in models]
    nearest = difflib.get_close_matches(str(wanted)[:200], titles, n=3, cutoff=0.3) or titles[:5]
    raise UnknownCheckpoint(place, wanted, f"one of {', '.join(nearest)}" if titles else "a checkpoint; there is none")


def _names(info: ModelInfo) -> Iterator[str]:
    yield from (title(info), info.name, info.file)
    if info.short_hash:
        yield info.short_hash
    if info.sha256:
        yield info.sha256


def _may_have(info: ModelInfo, digest: str) -> bool:
    known = info.sha256 or info.short_hash
    return known is None or known.startswith(digest) or digest.startswith(known)


def listed(info: ModelInfo) -> dict[str, Any]:
    """Write a model as ``GET sd-models`` lists it. ``filename`` has no folder: the server does not reveal its paths."""
    return {
        "title": title(info),
        "model_name": info.name,
        "hash": info.short_hash,
        "sha256": info.sha256,
        "filename": info.file,
        "config": None,
    }
