"""Carries out the nodes for noise, guiders and sampling."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from engine.batching.guidance import ClassifierFree, Composed, Dual, Guidance, PerpendicularNegative, Unguided
from engine.batching.inpainting import Keeping, KeepingBefore, Repainting, Thresholds
from engine.batching.members import Conditioning, branches_of, of_equal_length, padded
from engine.batching.patching import Patching
from engine.batching.predictor import Predictor, Takeover
from engine.batching.trajectory import Trajectory
from engine.device.transfer import to_device
from engine.errors import BadRequest
from engine.pictures.decoder import SCALE, latents_of
from engine.running.functions.controls import check_controls
from engine.running.functions.guiding import guided
from engine.running.functions.inpainting_channels import mask_of, shown_beside
from engine.running.functions.registry import Bench, LatentBatch, Wish, carries_out
from engine.running.model import Network
from engine.sampling.beginning import first_x
from engine.sampling.devices import NoiseDevice
from engine.sampling.levels import NoiseLevels
from engine.sampling.noise import NoiseSource, StepNoise, behind_start_noise, start_noise
from engine.sampling.samplers.table import sampler_named
from engine.workflow import sampling as nodes
from engine.workflow.a1111 import PaddedGuider, RefinedGuider
from engine.workflow.composing import ComposedGuider, WeightedPrompt


class SamplingNoise(Protocol):
    """Where a sampling's noise comes from."""

    @property
    def seed(self) -> int:
        """What it is drawn from, or the first of several."""

    def drawn(self, latents: LatentBatch) -> Tensor:
        """Return the noise that a sampling of ``latents`` begins from, (B, 4, h, w) float32 on the CPU."""

    def behind_start(self, latents: LatentBatch) -> torch.Generator:
        """Return the CPU's generator once that noise is drawn."""

    def first_x(self, *, noise: Tensor, sigma: Tensor, latents: Tensor, levels: NoiseLevels) -> Tensor:
        """Return the x at which a sampling begins: see ``engine.sampling.beginning.first_x``."""

    def source(self, sampler: str, sigmas: Tensor, latents: LatentBatch, device: torch.device) -> StepNoise:
        """Return the noise of the steps of ``sampler``."""


@dataclass(frozen=True)
class SeededNoise:
    """Where a sampling's noise comes from, one tensor for the whole batch."""

    seed: int
    start: NoiseDevice | None
    """Whose generator gives the noise that it begins from; None where it begins without. Its steps' noise is drawn from
    the seed in either case."""
    steps: NoiseDevice
    """Whose generator gives the noise of its steps."""
    factor: float = 1.0
    """By which the noise that it begins from is multiplied."""

    def drawn(self, latents: LatentBatch) -> Tensor:
        """Return the noise that a sampling of ``latents`` begins from, (B, 4, h, w) float32 on the CPU."""
        shape = latents.samples.shape
        if self.start is None:
            return torch.zeros(shape)
        noise = start_noise(self.seed, shape, latents.indices, drawn_on=self.start)
        return noise if self.factor == 1 else noise * self.factor

    def behind_start(self, latents: LatentBatch) -> torch.Generator:
        """Return the CPU's generator once that noise is drawn."""
        return behind_start_noise(self.seed, latents.samples.shape, latents.indices)

    def first_x(self, *, noise: Tensor, sigma: Tensor, latents: Tensor, levels: NoiseLevels) -> Tensor:
        """Return the x at which a sampling begins: see ``engine.sampling.beginning.first_x``."""
        return first_x(noise=noise, sigma=sigma, latents=latents, levels=levels)

    def source(self, sampler: str, sigmas: Tensor, latents: LatentBatch, device: torch.device) -> NoiseSource:
        """Return the noise of the steps of ``sampler``."""
        path: NoiseDevice = self.steps if sampler_named(sampler).device_path else "cpu"
        return NoiseSource(self.seed, sigmas, latents.samples.shape, device, drawn_on=self.steps, path_drawn_on=path)


@dataclass(frozen=True, eq=False)
class Guider:
    """A guider's network, its rule, and the conditioning of each of the rule's branches."""

    network: Network
    guidance: Guidance
    prompts: tuple[Conditioning, ...]
    then: tuple[RefinedGuider, Guider] | None = None
    """What takes over from it, and the node that says when; None: nothing does."""


@carries_out(nodes.RandomNoise)
def random_noise(node: nodes.RandomNoise, bench: Bench) -> SeededNoise:
    start, steps = cast(NoiseDevice, node.start_noise), cast(NoiseDevice, node.step_noise)
    return SeededNoise(node.seed, start=start, steps=steps, factor=node.factor)


@carries_out(nodes.NoNoise)
def no_noise(node: nodes.NoNoise, bench: Bench) -> SeededNoise:
    return SeededNoise(node.seed, start=None, steps=cast(NoiseDevice, node.step_noise))


@carries_out(nodes.NoiseLatents)
def noise_latents(node: nodes.NoiseLatents, bench: Bench) -> LatentBatch:
    latents: LatentBatch = bench[node.latents]
    noise = to_device(bench[node.noise].drawn(latents), bench.device)
    return dataclasses.replace(latents, samples=latents_of(noise), denoised=None)


@carries_out(nodes.Sampler)
def sampler(node: nodes.Sampler, bench: Bench) -> nodes.Sampler:
    return node


@carries_out(nodes.BasicGuider)
def basic_guider(node: nodes.BasicGuider, bench: Bench) -> Guider:
    return Guider(bench.network(node.model), Unguided(), (bench[node.positive],))


@carries_out(nodes.CfgGuider)
def cfg_guider(node: nodes.CfgGuider, bench: Bench) -> Guider:
    prompts = (bench[node.positive], bench[node.negative])
    return Guider(bench.network(node.model), ClassifierFree(scale=node.cfg_scale), prompts)


@carries_out(WeightedPrompt)
def weighted_prompt(node: WeightedPrompt, bench: Bench) -> tuple[tuple[Conditioning, float], ...]:
    before = () if node.before is None else bench[node.before]
    return (*before, (bench[node.conditioning], node.weight))


@carries_out(ComposedGuider)
def composed_guider(node: ComposedGuider, bench: Bench) -> Guider:
    prompts, weights = zip(*bench[node.positive], strict=True)
    guidance = Composed(scales=tuple(weight * node.cfg_scale for weight in weights), weights=weights)
    return Guider(bench.network(node.model), guidance, (*of_equal_length(prompts), bench[node.negative]))


@carries_out(nodes.DualCfgGuider)
def dual_cfg_guider(node: nodes.DualCfgGuider, bench: Bench) -> Guider:
    guidance = Dual(scale=node.cfg_scale, middle_scale=node.middle_scale, nested=node.style == "nested")
    prompts = (bench[node.positive], bench[node.middle], bench[node.negative])
    return Guider(bench.network(node.model), guidance, prompts)


@carries_out(nodes.PerpNegGuider)
def perp_neg_guider(node: nodes.PerpNegGuider, bench: Bench) -> Guider:
    guidance = PerpendicularNegative(scale=node.cfg_scale, negative_scale=node.negative_scale)
    prompts = (bench[node.positive], bench[node.negative], bench[node.empty])
    return Guider(bench.network(node.model), guidance, prompts)


@carries_out(PaddedGuider)
def padded_guider(node: PaddedGuider, bench: Bench) -> Guider:
    guider: Guider = bench[node.guider]
    filler = None if node.filler is None else bench[node.filler][0].tokens
    return dataclasses.replace(guider, prompts=padded(guider.prompts, filler))


@carries_out(RefinedGuider)
def refined_guider(node: RefinedGuider, bench: Bench) -> Guider:
    first: Guider = bench[node.first]
    if first.then is not None:
        raise BadRequest("first", "RefinedGuider", "a guider that no other takes over from")
    return dataclasses.replace(first, then=(node, bench[node.second]))


@carries_out(nodes.Sample)
def sample(node: nodes.Sample, bench: Bench) -> Generator[Wish, Tensor, LatentBatch]:
    """Latents as the VAE takes them: what a sampling leaves, noise and all where its sigmas do not end at 0."""
    latents: LatentBatch = bench[node.latents]
    sigmas: Tensor = bench[node.sigmas]
    if len(sigmas) == 0:
        return dataclasses.replace(latents, denoised=latents.samples)
    guider: Guider = bench[node.guider]
    _check_controls(node.guider, guider, bench)
    noise: SamplingNoise = bench[node.noise]
    start = to_device(noise.drawn(latents), bench.device)
    guider = yield from _shown(guider, latents, bench)
    trajectory = _trajectory(node.sampler, guider, latents, sigmas, noise, start, bench)
    final = yield trajectory
    denoised = final if trajectory.denoised is None else trajectory.denoised
    return dataclasses.replace(latents, samples=latents_of(final), denoised=latents_of(denoised))


def _shown(guider: Guider, latents: LatentBatch, bench: Bench) -> Generator[Wish, Any, Guider]:
    """``guider``, and what takes over from it, with what their networks take beside x."""
    prompts = yield from shown_beside(guider.network, guider.prompts, latents, bench)
    then = guider.then
    if then is not None:
        then = then[0], (yield from _shown(then[1], latents, bench))
    return dataclasses.replace(guider, prompts=prompts, then=then)


def _trajectory(
    sampler: nodes.Sampler,
    guider: Guider,
    latents: LatentBatch,
    sigmas: Tensor,
    seeded: SamplingNoise,
    noise: Tensor,
    bench: Bench,
) -> Trajectory:
    """The sampling of ``latents`` that begins from ``noise``, unit noise on the device, or zeros."""
    levels, scaled = guider.network.parametrization.levels, latents.samples * SCALE
    return Trajectory(
        sampler=sampler.name,
        options=sampler.options,
        x=seeded.first_x(noise=noise, sigma=sigmas[0], latents=scaled, levels=levels),
        sigmas=sigmas,
        noise=seeded.source(sampler.name, sigmas, latents, bench.device),
        predictor=_predictor(sampler, guider, latents, sigmas, seeded, noise, bench),
        owner=bench.owner,
    )


def _predictor(
    sampler: nodes.Sampler,
    guider: Guider,
    latents: LatentBatch,
    sigmas: Tensor,
    seeded: SamplingNoise,
    noise: Tensor,
    bench: Bench,
) -> Predictor:
    """What ``guider``, and what takes over from it, comes to in such a sampling."""
    network, scaled, shape = guider.network, latents.samples * SCALE, latents.samples.shape
    levels, prompts = network.parametrization.levels, guider.prompts
    mask = mask_of(latents)
    guidance, branches = guided(network, guider.guidance, branches_of(prompts, shape, levels), sampler.name)
    if mask is not None and latents.seen != "noised":
        rule = KeepingBefore if latents.seen == "latents" else Keeping
        guidance = rule(guidance=guidance, mask=mask, latents=scaled)
    elif mask is not None:
        around = noise
        if sampler_named(sampler.name).redraws_masked_noise:
            around = to_device(start_noise((seeded.seed + 1) % 2**64, shape), bench.device)
        thresholds = _thresholds(network, sigmas)
        guidance = Repainting(guidance=guidance, mask=mask, latents=scaled, noise=around, thresholds=thresholds)
    then = None
    if guider.then is not None:
        node, second = guider.then
        other = _predictor(sampler, second, latents, sigmas, seeded, noise, bench)
        then = Takeover(predictor=other, share=node.share, evaluations=node.evaluations)
    return Predictor(
        guidance=guidance,
        branches=branches,
        denoiser=network.denoiser,
        parametrization=network.parametrization,
        patching=_patching(network, seeded, latents),
        then=then,
    )


def _patching(network: Network, noise: SamplingNoise, latents: LatentBatch) -> Patching | None:
    if not network.patches:
        return None
    return Patching(network.denoiser.attentions, noise.behind_start(latents))


def _check_controls(node: nodes.Guider, guider: Guider, bench: Bench) -> None:
    if isinstance(node, RefinedGuider) and guider.then is not None:
        _check_controls(node.first, dataclasses.replace(guider, then=None), bench)
        _check_controls(node.second, guider.then[1], bench)
        return
    context = next(member.tokens.shape[2] for prompt in guider.prompts for member in prompt)
    check_controls(node, bench, width=guider.network.denoiser.channels, context=context)


def _thresholds(network: Network, sigmas: Tensor) -> Thresholds | None:
    """How a noise mask changes in a sampling of these sigmas."""
    if network.mask_thresholds is None:
        return None
    levels = network.parametrization.levels
    last = torch.clamp(sigmas[-1], min=levels.sigma_min)
    return Thresholds(levels=levels, first_sigma=sigmas[0], last_sigma=last, strength=network.mask_thresholds)


@carries_out(nodes.LastDenoised)
def last_denoised(node: nodes.LastDenoised, bench: Bench) -> LatentBatch:
    sampled: LatentBatch = bench[node.sample]
    assert sampled.denoised is not None  # sampled latents have it
    return dataclasses.replace(sampled, samples=sampled.denoised)
