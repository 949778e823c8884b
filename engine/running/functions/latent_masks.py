"""Carries out the nodes for the masks that latents carry."""

from __future__ import annotations

import dataclasses

from engine.pictures.compositing import composite_masked
from engine.running.functions.registry import Bench, LatentBatch, carries_out
from engine.workflow import encoding as nodes
from engine.workflow.sizes import PIXELS_PER_CELL


@carries_out(nodes.WithNoiseMask)
def with_noise_mask(node: nodes.WithNoiseMask, bench: Bench) -> LatentBatch:
    batch: LatentBatch = bench[node.latents]
    return dataclasses.replace(batch, noise_mask=bench[node.mask], seen="noised")


@carries_out(nodes.WithKeptLatents)
def with_kept_latents(node: nodes.WithKeptLatents, bench: Bench) -> LatentBatch:
    batch: LatentBatch = bench[node.latents]
    return dataclasses.replace(batch, noise_mask=bench[node.mask], seen=node.seen)


@carries_out(nodes.CompositeLatentsMasked)
def composite_latents(node: nodes.CompositeLatentsMasked, bench: Bench) -> LatentBatch:
    below: LatentBatch = bench[node.below]
    above: LatentBatch = bench[node.above]
    mask = None if node.mask is None else bench[node.mask]
    x, y = node.x // PIXELS_PER_CELL, node.y // PIXELS_PER_CELL
    samples = composite_masked(below.samples, above.samples, x, y, mask, resize=node.resize)
    return dataclasses.replace(below, samples=samples, denoised=None)
