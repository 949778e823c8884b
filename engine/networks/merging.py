"""Token merging (Bolya & Hoffman 2023, arXiv 2303.17604): of tokens that are alike, one asks for all in
self-attention, for speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from engine.networks.patches import Attend, Attention, DrawnPatch, Patch


@dataclass(frozen=True, kw_only=True)
class Merged(Patch):
    """In some layers the queries that are most like one of their neighbours' are replaced by the mean with it.

    Takes the drawn place of the token in each 2 × 2 that others are merged into, for each of these layers:
    (R, layers, h/2 · w/2).
    """

    takes: ClassVar[int] = 1
    height: int
    """Of x, in cells."""
    width: int
    layers: tuple[int, ...]
    """Which layers merge."""
    removed: int
    """The number of tokens that are merged into others, at most."""

    def attend(
        self, attention: Attention, inner: Attend, normed: Tensor, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        if attention.layer not in self.layers:
            return inner(normed, query, key, value)
        places = attention.beside[0][:, self.layers.index(attention.layer)]
        slots = attention.operations.by_unit(self._slots, normed, places)  # (R, n)
        count = normed.shape[1] - min(self.removed, normed.shape[1] - places.shape[1])
        merged = inner(_means(normed, slots, count), _means(query, slots, count), key, value)
        return merged.gather(1, slots[..., None].expand(-1, -1, merged.shape[2]))

    def _slots(self, normed: Tensor, places: Tensor) -> Tensor:
        """Which of the tokens that are left each token (R, n, C) becomes, (R, n)."""
        rows, count, _ = normed.shape
        targets = self._targets(places)
        is_source = torch.ones(rows, count, dtype=torch.uint8, device=normed.device).scatter_(1, targets, 0)
        order = is_source.argsort(dim=1, stable=True)
        targets, sources = order.tensor_split([targets.shape[1]], dim=1)
        directions = normed / normed.norm(dim=-1, keepdim=True)
        ours, theirs = _picked(directions, sources), _picked(directions, targets)
        likeness, nearest = (ours @ theirs.transpose(1, 2)).max(-1)
        removed = min(self.removed, sources.shape[1])
        merged, kept = likeness.argsort(dim=1, descending=True, stable=True).tensor_split([removed], dim=1)
        first = kept.shape[1]  # the tokens that are kept come before those that others are merged into
        slots = torch.empty(rows, count, dtype=torch.int64, device=normed.device)
        slots.scatter_(1, targets, (first + torch.arange(targets.shape[1], device=normed.device)).expand_as(targets))
        slots.scatter_(1, sources.gather(1, kept), torch.arange(first, device=normed.device).expand_as(kept))
        return slots.scatter_(1, sources.gather(1, merged), first + nearest.gather(1, merged))

    def _targets(self, places: Tensor) -> Tensor:
        """The number of the drawn token of each 2 × 2, (R, h/2 · w/2)."""
        down = torch.arange(self.height // 2, device=places.device)[:, None]
        across = torch.arange(self.width // 2, device=places.device)
        drawn = places.unflatten(1, (self.height // 2, self.width // 2))
        targets: Tensor = (2 * down + drawn // 2) * self.width + 2 * across + drawn % 2
        return targets.flatten(1)


@dataclass(frozen=True, kw_only=True)
class TokenMerging(DrawnPatch):
    """Merges a share of the tokens at x's own size; into which ones is drawn for each layer."""

    ratio: float
    """The share of all tokens that are merged into others, 0 … 1."""

    def choose(self, tokens: int, height: int, width: int, generator: torch.Generator) -> tuple[Any, int]:
        removed = int(tokens * self.ratio)
        if tokens != height * width or removed == 0 or 1 in (height, width):
            return None, tokens
        places = torch.randint(4, (height // 2, width // 2, 1), generator=generator)
        return places.flatten(), tokens - min(removed, tokens - places.numel())

    def chosen(self, choices: Sequence[Any], height: int, width: int) -> tuple[Patch, tuple[Tensor, ...]]:
        layers = tuple(layer for layer, places in enumerate(choices) if places is not None)
        if not layers:
            return Patch(), ()
        removed = int(height * width * self.ratio)
        merged = Merged(height=height, width=width, layers=layers, removed=removed)
        return merged, (torch.stack([choices[layer] for layer in layers])[None],)


def _picked(x: Tensor, tokens: Tensor) -> Tensor:
    """``tokens`` (R, m) of x (R, n, C), (R, m, C)."""
    return x.gather(1, tokens[..., None].expand(-1, -1, x.shape[2]))


def _means(x: Tensor, slots: Tensor, count: int) -> Tensor:
    """The mean of the tokens (R, n, C) that share a slot, for each of ``count`` slots: (R, count, C).

    Each sum is made in the order of the tokens, which atomic additions on a GPU would not promise.
    """
    order = slots.argsort(dim=1, stable=True)
    lengths = torch.zeros(slots.shape[0], count, dtype=torch.int64, device=x.device)
    lengths.scatter_add_(1, slots, torch.ones_like(slots))
    sorted_tokens = _picked(x, order).flatten(0, 1)
    means: Tensor = torch.segment_reduce(sorted_tokens, "mean", lengths=lengths.flatten(), unsafe=True)
    whole: Tensor = means.unflatten(0, (-1, count))
    return whole
