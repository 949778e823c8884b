"""Carries out the nodes for repainting."""

from __future__ import annotations

import dataclasses

from engine.running.functions.registry import Bench, carries_out
from engine.running.model import Network
from engine.workflow import inpainting as nodes


@carries_out(nodes.DifferentialDiffusion)
def differential_diffusion(node: nodes.DifferentialDiffusion, bench: Bench) -> Network:
    network = bench.network(node.model)
    return dataclasses.replace(network, mask_thresholds=node.strength) if node.strength > 0 else network
