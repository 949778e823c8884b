"""Carries out the nodes for sampling as AUTOMATIC1111 samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from engine.batching.branches import Rests
from engine.batching.members import Conditioning
from engine.errors import BadRequest
from engine.pictures.decoder import PIXELS_PER_CELL
from engine.running.functions.registry import Bench, LatentBatch, carries_out
from engine.running.functions.sampling import sampler
from engine.running.readings import levels_of
from engine.sampling.a1111 import curves
from engine.sampling.a1111.levels import FractionalLevels
from engine.sampling.a1111.noise import PictureNoise, PictureSeed
from engine.sampling.devices import NoiseDevice
from engine.sampling.levels import NoiseLevels
from engine.workflow import a1111 as nodes

_SEEDS = 2**64


@dataclass(frozen=True)
class NoiseOfPictures:
    """Where a sampling's noise comes from, picture by picture."""

    node: nodes.PictureNoise
    span: Tensor | None
    """The levels that Brownian paths go through; None: those that are sampled."""

    @property
    def seed(self) -> int:
        """The first picture's."""
        return self.node.seed

    def drawn(self, latents: LatentBatch) -> Tensor:
        """The noise that a sampling of ``latents`` begins from, (B, 4, h, w) float32 on the CPU."""
        noise = torch.stack([seed.start(latents.samples.shape[1:]) for seed in self._seeds(latents)])
        return noise * self.node.factor

    def first_x(self, *, noise: Tensor, sigma: Tensor, latents: Tensor, levels: NoiseLevels) -> Tensor:
        """The x at which a sampling begins: see ``engine.sampling.beginning.first_x``."""
        extra = self.node.extra
        if self.node.start == "variance":
            return latents + noise * (torch.sqrt(1 + sigma**2) + extra)
        if self.node.start == "sigma" or self.span is None:
            return latents + noise * (sigma + extra)
        above = self.span[max(int((self.span - sigma).abs().argmin()) - 1, 0)]
        return (latents + noise * (above + extra)) * torch.sqrt((1 + sigma**2) / (1 + above**2))

    def behind_start(self, latents: LatentBatch) -> torch.Generator:
        """A CPU's generator for the random choices of patches."""
        return torch.Generator().manual_seed(self.node.seed)

    def source(self, sampler: str, sigmas: Tensor, latents: LatentBatch, device: torch.device) -> PictureNoise:
        """The noise of the steps."""
        span = sigmas if self.span is None else self.span
        return PictureNoise(self._seeds(latents), span, latents.samples.shape, device)

    def _seeds(self, latents: LatentBatch) -> Sequence[PictureSeed]:
        node = self.node
        places = range(latents.samples.shape[0]) if latents.indices is None else latents.indices
        varied = node.variation_strength > 0
        size = node.from_height // PIXELS_PER_CELL, node.from_width // PIXELS_PER_CELL
        return [
            PictureSeed(
                seed=(node.seed + (0 if varied else place)) % _SEEDS,
                drawn_on=cast(NoiseDevice, node.drawn_on),
                step_delta=node.step_delta,
                variation_seed=(node.variation_seed + place) % _SEEDS,
                variation_strength=node.variation_strength,
                from_size=size if all(size) else None,
            )
            for place in places
        ]


@carries_out(nodes.PictureNoise)
def picture_noise(node: nodes.PictureNoise, bench: Bench) -> NoiseOfPictures:
    return NoiseOfPictures(node, None if node.span is None else bench[node.span])


carries_out(nodes.FurtherSampler)(sampler)


@carries_out(nodes.WithRests)
def with_rests(node: nodes.WithRests, bench: Bench) -> Conditioning:
    rests = Rests(below=node.below, alternate=node.alternate, until=node.until, evaluations=node.evaluations)
    members: Conditioning = bench[node.conditioning]
    return tuple(dataclasses.replace(member, rests=rests) for member in members)


@carries_out(nodes.A1111Sigmas)
def a1111_sigmas(node: nodes.A1111Sigmas, bench: Bench) -> Tensor:
    options = {name: value for name, value in node.fields() if name != "model"}
    return curves.sigmas(levels=levels_of(node.model), **options)


@carries_out(nodes.TimestepSigmas)
def timestep_sigmas(node: nodes.TimestepSigmas, bench: Bench) -> Tensor:
    return curves.timestep_sigmas(steps=node.steps, levels=levels_of(node.model))


@carries_out(nodes.UniPcSigmas)
def uni_pc_sigmas(node: nodes.UniPcSigmas, bench: Bench) -> Tensor:
    levels = levels_of(node.model)
    if not isinstance(levels, FractionalLevels):
        raise BadRequest("model", "a model of another reading", "a model with fractional timesteps")
    timesteps = len(curves.timesteps(node.steps, levels))
    if node.run > timesteps:
        raise BadRequest("run", node.run, f"at most {timesteps}, the timesteps of {node.steps} steps")
    return curves.uni_pc_sigmas(steps=node.steps, levels=levels, times=node.times, run=node.run)
