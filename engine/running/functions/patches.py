"""Carries out the nodes that change a model without other weights."""

from __future__ import annotations

import dataclasses

from engine.batching.corrections import Correction, PerturbedAttention, SelfAttention
from engine.networks.enlarging import EnlargeByTwo
from engine.networks.free_u import FreeU
from engine.networks.merging import TokenMerging
from engine.networks.patches import Patch
from engine.networks.shrink import Shrink
from engine.networks.tiling import HyperTile
from engine.pictures.decoder import PIXELS_PER_CELL
from engine.running.functions.registry import Bench, carries_out
from engine.running.model import Network
from engine.running.readings import parametrization_of
from engine.workflow import patches as nodes
from engine.workflow.a1111 import FractionalReading


def _reading(node: nodes.Reading, bench: Bench) -> Network:
    return dataclasses.replace(bench.network(node.model), parametrization=parametrization_of(node))


for _kind in (nodes.DiscreteReading, nodes.ContinuousReading, FractionalReading):
    carries_out(_kind)(_reading)


@carries_out(nodes.RescaledGuidance)
def rescaled_guidance(node: nodes.RescaledGuidance, bench: Bench) -> Network:
    return dataclasses.replace(bench.network(node.model), rescale=node.multiplier)


@carries_out(nodes.PerturbedAttention)
def perturbed_attention(node: nodes.PerturbedAttention, bench: Bench) -> Network:
    network = bench.network(node.model)
    return network if node.scale == 0 else _corrected(network, PerturbedAttention(scale=node.scale))


@carries_out(nodes.SelfAttention)
def self_attention(node: nodes.SelfAttention, bench: Bench) -> Network:
    return _corrected(bench.network(node.model), SelfAttention(scale=node.scale, blur=node.blur_sigma))


@carries_out(nodes.FreeU)
def free_u(node: nodes.FreeU, bench: Bench) -> Network:
    factors, skips = (node.b1, node.b2), (node.s1, node.s2)
    return _patched(bench.network(node.model), FreeU(backbone=factors, skip=skips, adaptive=node.version == 2))


@carries_out(nodes.HyperTile)
def hyper_tile(node: nodes.HyperTile, bench: Bench) -> Network:
    tile = node.tile_size // PIXELS_PER_CELL
    patch = HyperTile(tile=tile, swaps=node.swap_size, depth=node.max_depth, scaled=node.scale_depth)
    return _patched(bench.network(node.model), patch)


@carries_out(nodes.TokenMerging)
def token_merging(node: nodes.TokenMerging, bench: Bench) -> Network:
    return _patched(bench.network(node.model), TokenMerging(ratio=node.ratio))


@carries_out(nodes.EnlargedByTwo)
def enlarged_by_two(node: nodes.EnlargedByTwo, bench: Bench) -> Network:
    return _patched(bench.network(node.model), EnlargeByTwo())


@carries_out(nodes.DeepShrink)
def deep_shrink(node: nodes.DeepShrink, bench: Bench) -> Network:
    network = bench.network(node.model)
    levels = network.parametrization.levels
    patch = Shrink(
        block=node.block_number,
        factor=node.downscale_factor,
        first_sigma=levels.sigma_at_percent(node.start_percent),
        last_sigma=levels.sigma_at_percent(node.end_percent),
        after_join=node.downscale_after_skip,
        shrinking=node.downscale_method,
        enlarging=node.upscale_method,
    )
    return _patched(network, patch)


def _patched(network: Network, patch: Patch) -> Network:
    return dataclasses.replace(network, patches=(*network.patches, patch))


def _corrected(network: Network, correction: Correction) -> Network:
    return dataclasses.replace(network, corrections=(*network.corrections, correction))
