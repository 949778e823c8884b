"""Carries out the nodes for models and conditioning."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from engine.errors import BadRequest
from engine.running.functions.registry import Bench, carries_out
from engine.running.model import Networks
from engine.workflow.models import Checkpoint, LastLayer
from engine.workflow.text import EncodeText


@carries_out(Checkpoint)
def checkpoint(node: Checkpoint, bench: Bench) -> Networks:
    return Networks(bench.models[node.name])


@carries_out(LastLayer)
def last_layer(node: LastLayer, bench: Bench) -> Networks:
    networks: Networks = bench[node.clip]
    layers = networks.model.conditioner.layers
    if -node.layer > layers:
        raise BadRequest("layer", node.layer, f"a whole number from {-layers} to -1: the encoder has {layers} layers")
    return dataclasses.replace(networks, clip_skip=-node.layer)


@carries_out(EncodeText)
def encode_text(node: EncodeText, bench: Bench) -> Tensor:
    """(1, 77·chunks, width) float32 on the device."""
    networks: Networks = bench[node.clip]
    with bench.observer.stage("encode"):
        return networks.model.conditioner.encode(node.text, networks.clip_skip, "text")
