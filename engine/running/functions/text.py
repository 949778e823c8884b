"""Carries out the nodes for text encoders and conditioning."""

from __future__ import annotations

import dataclasses

from engine.batching.branches import Turns
from engine.batching.members import Conditioning, Member
from engine.errors import BadRequest
from engine.running.functions.registry import Bench, carries_out
from engine.running.model import TextEncoder
from engine.text.a1111.chunks import Vocabulary, chunks_of
from engine.text.prompt import EMPTY
from engine.workflow.models import LastLayer
from engine.workflow.prompting import schedule_of
from engine.workflow.text import EncodeA1111Text, EncodeText


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
    before = encoder.conditioner.encoded
    with bench.observer.stage("encode"):
        tokens = encoder.conditioner.encode(node.text, encoder.clip_skip, "text", bench.embedding)
    if encoder.conditioner.encoded == before:
        bench.cached.add(node)
    return (Member(tokens=tokens),)


@carries_out(EncodeA1111Text)
def encode_a1111_text(node: EncodeA1111Text, bench: Bench) -> Conditioning:
    """One member for each different text, which counts at the evaluations of its entries of the schedule."""
    encoder = bench.text_encoder(node.clip)
    vocabulary = Vocabulary(bench.embeddings(), encoder.conditioner.width)
    entries = schedule_of(node)
    places: dict[str, list[int]] = {}
    for place, entry in enumerate(entries):
        places.setdefault(entry.text, []).append(place)
    texts = [chunks_of(text, vocabulary, node.reading) for text in places]
    length = max(map(len, texts))
    texts = [(*chunks, *[EMPTY] * (length - len(chunks))) for chunks in texts]
    numbers = {text: number for number, text in enumerate(places)}
    order = [numbers[entry.text] for entry in entries]
    with bench.observer.stage("encode"):
        encoded = encoder.conditioner.encode_together(texts, order, encoder.clip_skip, node.emphasis)
    lasts = tuple(entry.last for entry in entries)
    turns = [Turns(lasts=lasts, own=frozenset(own)) if len(places) > 1 else None for own in places.values()]
    return tuple(Member(tokens=tokens, turns=each) for tokens, each in zip(encoded, turns, strict=True))
