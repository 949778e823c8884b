"""What a sampling's guidance is, with what the model's patches make of it. Knows no node."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from engine.batching.branches import Branch
from engine.batching.guidance import ClassifierFree, Dual, Guidance, Unguided
from engine.running.model import Network
from engine.sampling.samplers.table import sampler_named


def guided(
    network: Network, guidance: Guidance, branches: Sequence[Branch], sampler: str
) -> tuple[Guidance, tuple[Branch, ...]]:
    """Return a guider's rule and its branches as the model's patches have them."""
    if network.patches:
        branches = [branch.patched(lambda patches: (*network.patches, *patches)) for branch in branches]
    guidance = _needed(network, guidance, sampler)
    for correction in network.corrections:
        guidance, branches = correction.around(guidance, branches)
    return guidance, tuple(branches)


def _needed(network: Network, guidance: Guidance, sampler: str) -> Guidance:
    """At a scale of 1 the negative prompt counts for nothing; only some samplers and patches ask for its prediction."""
    asked = sampler_named(sampler).needs_unconditional or any(each.needs_negative for each in network.corrections)
    if isinstance(guidance, ClassifierFree) and guidance.scale == 1 and not asked:
        return Unguided()
    if isinstance(guidance, ClassifierFree | Dual):
        return dataclasses.replace(guidance, rescale=network.rescale)
    return guidance
