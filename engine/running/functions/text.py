"""Carries out the nodes for text encoders and conditioning."""

from __future__ import annotations

import dataclasses

from engine.batching.members import Conditioning, Member
from engine.errors import BadRequest
from engine.running.functions.registry import Bench, carries_out
from engine.running.model import TextEncoder
from engine.workflow.models import LastLayer
from engine.workflow.text import EncodeText


@carries_out(LastLayer)
def last_layer(node: LastLayer, bench: Bench) -> TextEncoder:
    encoder = bench.text_encoder(node.clip)
    layers = encoder.conditioner.layers
    if -node.layer > layers:
        raise BadRequest("layer", node.layer, f"a whole number from {-layers} to -1: the encoder has {layers} layers")
    return dataclasses.replace(encoder, clip_skip=-node.layer)


@carries_out(EncodeText)
def encode_text(node: EncodeText, bench: Bench) -> Conditioning:
    encoder = bench.text_encoder(node.clip)
    with bench.observer.stage("encode"):
        return (Member(tokens=encoder.conditioner.encode(node.text, encoder.clip_skip, "text", bench.embedding)),)
