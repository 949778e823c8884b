"""Carries out the nodes that combine and confine conditioning."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from engine.batching.members import Conditioning, Member
from engine.errors import BadRequest
from engine.running.functions.registry import Bench, carries_out
from engine.workflow import conditioning as nodes
from engine.workflow.predictions import area_of


@carries_out(nodes.CombineConditioning)
def combine(node: nodes.CombineConditioning, bench: Bench) -> Conditioning:
    first: Conditioning = bench[node.first]
    second: Conditioning = bench[node.second]
    return first + second


@carries_out(nodes.ConcatenateConditioning)
def concatenate(node: nodes.ConcatenateConditioning, bench: Bench) -> Conditioning:
    behind: Tensor = bench[node.second][0].tokens

    def longer(member: Member) -> Tensor:
        _check_width(member.tokens, behind, "second")
        return torch.cat([member.tokens, behind], dim=1)

    return tuple(dataclasses.replace(member, tokens=longer(member)) for member in bench[node.first])


@carries_out(nodes.AverageConditioning)
def average(node: nodes.AverageConditioning, bench: Bench) -> Conditioning:
    other: Tensor = bench[node.other][0].tokens

    def mixed(tokens: Tensor) -> Tensor:
        _check_width(tokens, other, "other")
        length = tokens.shape[1]
        alike = pad(other[:, :length], (0, 0, 0, max(0, length - other.shape[1])))
        return tokens * node.share + alike * (1.0 - node.share)

    return tuple(dataclasses.replace(member, tokens=mixed(member.tokens)) for member in bench[node.conditioning])


@carries_out(nodes.ZeroConditioning)
def zero(node: nodes.ZeroConditioning, bench: Bench) -> Conditioning:
    members: Conditioning = bench[node.conditioning]
    return tuple(dataclasses.replace(member, tokens=torch.zeros_like(member.tokens)) for member in members)


@carries_out(nodes.WithArea)
def with_area(node: nodes.WithArea, bench: Bench) -> Conditioning:
    return _changed(bench[node.conditioning], area=area_of(node), strength=node.strength, mask_bounds=False)


@carries_out(nodes.WithAreaShares)
def with_area_shares(node: nodes.WithAreaShares, bench: Bench) -> Conditioning:
    return _changed(bench[node.conditioning], area=area_of(node), strength=node.strength, mask_bounds=False)


@carries_out(nodes.WithStrength)
def with_strength(node: nodes.WithStrength, bench: Bench) -> Conditioning:
    return _changed(bench[node.conditioning], strength=node.strength)


@carries_out(nodes.WithMask)
def with_mask(node: nodes.WithMask, bench: Bench) -> Conditioning:
    mask: Tensor = bench[node.mask]
    return _changed(bench[node.conditioning], mask=mask, mask_strength=node.strength, mask_bounds=node.bounds)


@carries_out(nodes.WithRange)
def with_range(node: nodes.WithRange, bench: Bench) -> Conditioning:
    return _changed(bench[node.conditioning], start=node.start, end=node.end)


def _changed(members: Conditioning, **values: Any) -> Conditioning:
    return tuple(dataclasses.replace(member, **values) for member in members)


def _check_width(tokens: Tensor, others: Tensor, field: str) -> None:
    """Raise ``BadRequest`` where two prompts are of text encoders of different widths."""
    if tokens.shape[2] != others.shape[2]:
        allowed = f"a prompt of the other one's text encoder, which makes {tokens.shape[2]} features a token"
        raise BadRequest(field, f"{others.shape[2]} features a token", allowed)
