"""What guidance by self-attention changes in the middle of the network."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from engine.networks.patches import Attend, Attention, Patch


@dataclass(frozen=True, kw_only=True)
class SeeNothing(Patch):
    """In the middle each token attends to itself alone (Ahn et al. 2024, arXiv 2403.17377, section 4.2)."""

    def attend(
        self, attention: Attention, inner: Attend, normed: Tensor, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        return value if attention.middle else inner(normed, query, key, value)


@dataclass(frozen=True, kw_only=True)
class NoteAttention(Patch):
    """The middle notes how much each of its tokens is attended to, (R, n) float32: the sum over all tokens that attend,
    the mean over heads (Hong et al. 2022, arXiv 2210.00939, section 4.2)."""

    def attend(
        self, attention: Attention, inner: Attend, normed: Tensor, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        if attention.middle:
            heads = attention.heads
            attention.notes.append(attention.operations.by_unit(lambda q, k: _attended(q, k, heads), query, key))
        return inner(normed, query, key, value)


def _attended(query: Tensor, key: Tensor, heads: int) -> Tensor:
    q, k = (part.float().unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key))
    weights: Tensor = (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).softmax(-1)  # (R, heads, n, n)
    return weights.mean(1).sum(1)
