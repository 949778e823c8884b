"""One textual-inversion file → its vectors. Knows how programs have written them; knows no prompt."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoint.copying import is_finite
from engine.checkpoint.weights import Weights, open_weights
from engine.errors import BrokenCheckpoint
from engine.tensors.kinds import LISTED

_OWN_KEY = "clip_l"
"""What the vectors for this text encoder are called in files for several."""


def load_embedding(path: Path) -> tuple[Tensor, ...]:
    """Return the vectors in ``path``, float32 (n, width) on the CPU; of a list of several encoders' vectors, all of
    them.

    Raises ``BrokenCheckpoint`` for a file that holds none, or values that are not finite.
    """
    weights = open_weights(path)
    return tuple(_vectors(path, weights, name) for name in _names(path, weights))


def embedding_size(path: Path) -> int:
    """Return the number of values in ``path`` that ``load_embedding`` reads, from its header."""
    weights = open_weights(path, values=False)
    return sum(torch.Size(weights.shapes[name]).numel() for name in _names(path, weights))


def _names(path: Path, weights: Weights) -> list[str]:
    names = list(weights.shapes)
    if weights.nested != LISTED:
        names = [_OWN_KEY] if _OWN_KEY in weights.shapes else names[:1]
    strange = [name for name in names if len(weights.shapes[name]) not in (1, 2) or 0 in weights.shapes[name]]
    if strange or not names:
        what = f"{strange[0]} of shape {weights.shapes[strange[0]]}" if strange else "no tensor"
        raise BrokenCheckpoint(path, f"an embedding is one or several vectors; it holds {what}")
    return names


def _vectors(path: Path, weights: Weights, name: str) -> Tensor:
    try:
        stored = weights.take(name).to(torch.float32, copy=True)
    except Exception as error:
        raise BrokenCheckpoint(path, f"its tensor {name} cannot be read ({error})") from error
    if not is_finite(stored):
        raise BrokenCheckpoint(path, f"its tensor {name} holds NaN or infinite values")
    return stored.reshape(-1, stored.shape[-1])
