"""Seeds that count up, for calls that ask for several pictures. This module knows no dialect."""

from __future__ import annotations

import dataclasses

from engine import GenerationRequest
from engine.request import MAX_SEED


def in_a_row(request: GenerationRequest, count: int) -> tuple[GenerationRequest, ...]:
    """Return ``count`` requests, of which number i has the seed + i. A seed that is absent is drawn."""
    first = request.with_seed()
    assert first.seed is not None
    seeds = [(first.seed + number) % (MAX_SEED + 1) for number in range(count)]
    return tuple(first if seed == first.seed else dataclasses.replace(first, seed=seed) for seed in seeds)
