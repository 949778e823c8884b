"""Carries out the nodes for sigmas. They need no model's weights, so that a schedule can be checked before it is run.

Every function returns float32 sigmas on the CPU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor

from engine.running.functions.registry import Bench, carries_out
from engine.running.readings import levels_of
from engine.sampling import schedules
from engine.workflow import sampling as nodes
from engine.workflow.node import Node


@carries_out(nodes.ScheduledSigmas)
def scheduled(node: nodes.ScheduledSigmas, bench: Bench) -> Tensor:
    return schedules.sigmas(
        sampler=node.sampler,
        scheduler=node.scheduler,
        steps=node.steps,
        denoise=node.denoise,
        levels=levels_of(node.model),
    )


@carries_out(nodes.BasicSigmas)
def basic(node: nodes.BasicSigmas, bench: Bench) -> Tensor:
    levels = levels_of(node.model)
    return schedules.basic(scheduler=node.scheduler, steps=node.steps, denoise=node.denoise, levels=levels)


@carries_out(nodes.TurboSigmas)
def turbo(node: nodes.TurboSigmas, bench: Bench) -> Tensor:
    return schedules.sd_turbo(steps=node.steps, denoise=node.denoise, levels=levels_of(node.model))


@carries_out(nodes.BetaSigmas)
def beta(node: nodes.BetaSigmas, bench: Bench) -> Tensor:
    levels = levels_of(node.model)
    return schedules.beta_sampling(steps=node.steps, alpha=node.alpha, beta=node.beta, levels=levels)


def _by_its_fields(function: Callable[..., Tensor], node: Node, bench: Bench) -> Tensor:
    """``function`` of all of the node's fields, for nodes whose fields are its parameters."""
    parameters: dict[str, Any] = dict(node.fields())
    return function(**parameters)


for _kind, _function in (
    (nodes.KarrasSigmas, schedules.karras),
    (nodes.ExponentialSigmas, schedules.exponential),
    (nodes.PolyexponentialSigmas, schedules.polyexponential),
    (nodes.LaplaceSigmas, schedules.laplace),
    (nodes.VpSigmas, schedules.vp),
    (nodes.AlignYourStepsSigmas, schedules.align_your_steps),
):
    carries_out(_kind)(functools.partial(_by_its_fields, _function))


@carries_out(nodes.SplitSigmas)
def split(node: nodes.SplitSigmas, bench: Bench) -> Tensor:
    high, low = schedules.split(bench[node.sigmas], step=node.step)
    return high if node.part == "high" else low


@carries_out(nodes.SplitSigmasDenoise)
def split_denoise(node: nodes.SplitSigmasDenoise, bench: Bench) -> Tensor:
    high, low = schedules.split_denoise(bench[node.sigmas], denoise=node.denoise)
    return high if node.part == "high" else low


@carries_out(nodes.SplitSigmasAtShare)
def split_at_share(node: nodes.SplitSigmasAtShare, bench: Bench) -> Tensor:
    sigma = levels_of(node.model).sigma_at_percent(node.share)
    high, low = schedules.split_at(bench[node.sigmas], sigma=sigma)
    return high if node.part == "high" else low


@carries_out(nodes.FlipSigmas)
def flip(node: nodes.FlipSigmas, bench: Bench) -> Tensor:
    return schedules.flip(bench[node.sigmas])


@carries_out(nodes.FirstSigma)
def first(node: nodes.FirstSigma, bench: Bench) -> Tensor:
    return schedules.with_first(bench[node.sigmas], sigma=node.sigma)


@carries_out(nodes.CutSigmas)
def cut(node: nodes.CutSigmas, bench: Bench) -> Tensor:
    return schedules.cut(bench[node.sigmas], start=node.start, end=node.end, leftover=node.leftover_noise)
