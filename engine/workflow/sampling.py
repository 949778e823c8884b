"""Nodes for sampling: guiders, samplers, sigmas, noise, and the sampling itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.errors import BadRequest
from engine.parameters import Flag, Number, OneOf, Seed, WholeNumber, parameter
from engine.sampling.devices import NOISE_DEVICES
from engine.sampling.samplers.table import SAMPLERS, sampler_named
from engine.sampling.schedulers import SCHEDULERS
from engine.workflow.latents import Latents
from engine.workflow.models import Model
from engine.workflow.node import Node, link
from engine.workflow.text import Conditioning

MAX_STEPS = 10_000

_NOISE_DEVICE = OneOf(NOISE_DEVICES)
_STEPS = WholeNumber(1, MAX_STEPS)
_SCHEDULER = OneOf(tuple(SCHEDULERS))
_SAMPLER = OneOf(tuple(SAMPLERS))
SCALE = Number(0, 100)
_SIGMA = Number(0, 5000)


class Guider(Node):
    """How predictions make one denoised prediction."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BasicGuider(Guider):
    """One prediction alone."""

    model: Model = link(Model)
    positive: Conditioning = link(Conditioning)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CfgGuider(Guider):
    """Classifier-free guidance: negative + cfg_scale · (positive − negative)."""

    model: Model = link(Model)
    positive: Conditioning = link(Conditioning)
    negative: Conditioning = link(Conditioning)
    cfg_scale: float = parameter(8.0, SCALE, "guidance scale; 1 ignores the negative prompt")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DualCfgGuider(Guider):
    """Guidance by two prompts.

    ``regular``: negative + middle_scale · (middle − negative) + cfg_scale · (positive − middle). ``nested``: the
    guidance from middle to positive first, then from negative to that.
    """

    model: Model = link(Model)
    positive: Conditioning = link(Conditioning)
    middle: Conditioning = link(Conditioning)
    negative: Conditioning = link(Conditioning)
    cfg_scale: float = parameter(8.0, SCALE, "guidance scale from middle to positive")
    middle_scale: float = parameter(8.0, SCALE, "guidance scale from negative to middle")
    style: str = parameter("regular", OneOf(("regular", "nested")), "how the two are combined")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PerpNegGuider(Guider):
    """Guidance in which the negative prompt pushes only across the positive one (Armandpour 2023, 2304.04968)."""

    model: Model = link(Model)
    positive: Conditioning = link(Conditioning)
    negative: Conditioning = link(Conditioning)
    empty: Conditioning = link(Conditioning)
    cfg_scale: float = parameter(8.0, SCALE, "guidance scale")
    negative_scale: float = parameter(1.0, SCALE, "how strongly the negative prompt pushes")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Sampler(Node):
    """An integration rule, with what it lets a caller choose."""

    name: str = parameter("euler", _SAMPLER, "integration rule")
    options: tuple[tuple[str, Any], ...] = ()
    """Name and value of the rule's own options; those left out have their defaults."""

    def __post_init__(self) -> None:
        super().__post_init__()
        known = sampler_named(self.name).options
        for name, _ in self.options:
            if name not in known:
                raise BadRequest("options", name, f"an option of {self.name}: {', '.join(known) or 'none'}")


class Sigmas(Node):
    """Noise levels from the first to the last, mostly falling to 0."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ScheduledSigmas(Sigmas):
    """The levels that KSampler gives ``sampler``: some samplers get a schedule of one more step without its last but
    one level."""

    model: Model = link(Model)
    sampler: str = parameter("euler", _SAMPLER, "integration rule")
    scheduler: str = parameter("normal", _SCHEDULER, "sigma schedule")
    steps: int = parameter(20, _STEPS, "sampling steps")
    denoise: float = parameter(1.0, Number(0, 1), "share of the schedule that is run; 0 leaves the latents as they are")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BasicSigmas(Sigmas):
    """The levels of a schedule, whatever the sampler."""

    model: Model = link(Model)
    scheduler: str = parameter("normal", _SCHEDULER, "sigma schedule")
    steps: int = parameter(20, _STEPS, "sampling steps")
    denoise: float = parameter(1.0, Number(0, 1), "share of the schedule that is run")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class KarrasSigmas(Sigmas):
    """Karras et al. 2022, equation 5."""

    steps: int = parameter(20, _STEPS, "sampling steps")
    sigma_max: float = parameter(14.614642, _SIGMA, "the first level")
    sigma_min: float = parameter(0.0291675, _SIGMA, "the last level before 0")
    rho: float = parameter(7.0, Number(0, 100), "how much the levels gather at the end")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ExponentialSigmas(Sigmas):
    """Levels whose logarithms fall evenly."""

    steps: int = parameter(20, _STEPS, "sampling steps")
    sigma_max: float = parameter(14.614642, _SIGMA, "the first level")
    sigma_min: float = parameter(0.0291675, _SIGMA, "the last level before 0")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PolyexponentialSigmas(Sigmas):
    """Levels whose logarithms fall as a power of an even ramp."""

    steps: int = parameter(20, _STEPS, "sampling steps")
    sigma_max: float = parameter(14.614642, _SIGMA, "the first level")
    sigma_min: float = parameter(0.0291675, _SIGMA, "the last level before 0")
    rho: float = parameter(1.0, Number(0, 100), "the power")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LaplaceSigmas(Sigmas):
    """Levels at the quantiles of a Laplace distribution of log sigma (Hang 2024, 2407.03297); no 0 at the end."""

    steps: int = parameter(20, _STEPS, "sampling steps")
    sigma_max: float = parameter(14.614642, _SIGMA, "the largest level")
    sigma_min: float = parameter(0.0291675, _SIGMA, "the smallest level")
    mu: float = parameter(0.0, Number(-10, 10), "the distribution's middle")
    beta: float = parameter(0.5, Number(0, 10), "its width")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class VpSigmas(Sigmas):
    """The levels of the continuous variance-preserving process (Song et al. 2021, 2011.13456)."""

    steps: int = parameter(20, _STEPS, "sampling steps")
    beta_d: float = parameter(19.9, Number(0, 5000), "the rise of beta over the process")
    beta_min: float = parameter(0.1, Number(0, 5000), "beta at its beginning")
    eps_s: float = parameter(0.001, Number(0, 1), "the time at which it is left")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TurboSigmas(Sigmas):
    """The levels of distilled models: every hundredth timestep from the top."""

    model: Model = link(Model)
    steps: int = parameter(1, WholeNumber(1, 10), "sampling steps")
    denoise: float = parameter(1.0, Number(0, 1), "share of the ten levels that is run")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BetaSigmas(Sigmas):
    """Levels at the quantiles of a beta distribution of timesteps (Lee et al. 2024, 2407.12173)."""

    model: Model = link(Model)
    steps: int = parameter(20, _STEPS, "sampling steps")
    alpha: float = parameter(0.6, Number(0, 50), "the distribution's first shape")
    beta: float = parameter(0.6, Number(0, 50), "its second shape")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AlignYourStepsSigmas(Sigmas):
    """The levels that Sabour et al. 2024 (Align Your Steps, 2404.14507) found for ten steps of this kind of model."""

    model_type: str = parameter("SD1", OneOf(("SD1", "SDXL", "SVD")), "the kind of model")
    steps: int = parameter(10, _STEPS, "sampling steps; other numbers than ten are interpolated")
    denoise: float = parameter(1.0, Number(0, 1), "share of the schedule that is run")


_PART = OneOf(("high", "low"))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SplitSigmas(Sigmas):
    """A part of a schedule, cut at a step: ``high`` before it, ``low`` from it on."""

    sigmas: Sigmas = link(Sigmas)
    step: int = parameter(0, WholeNumber(0, MAX_STEPS), "where it is cut")
    part: str = parameter("high", _PART, "which part")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SplitSigmasDenoise(Sigmas):
    """A part of a schedule, cut so that ``low`` has a share of the steps."""

    sigmas: Sigmas = link(Sigmas)
    denoise: float = parameter(1.0, Number(0, 1), "the share of the steps in ``low``")
    part: str = parameter("high", _PART, "which part")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SplitSigmasAtShare(Sigmas):
    """A part of a schedule, cut at the first level after which no more than 1 − share of a model's timesteps lie:
    ``high`` before it, ``low`` from it on."""

    sigmas: Sigmas = link(Sigmas)
    model: Model = link(Model)
    share: float = parameter(0.8, Number(0, 1), "the share of the timesteps that lie before it")
    part: str = parameter("high", _PART, "which part")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FlipSigmas(Sigmas):
    """A schedule backwards, which adds noise; a 0 at its beginning becomes 0.0001."""

    sigmas: Sigmas = link(Sigmas)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FirstSigma(Sigmas):
    """A schedule whose first level is another, for a sampling that starts from more or less noise than it would."""

    sigmas: Sigmas = link(Sigmas)
    sigma: float = parameter(136.0, Number(0, 20_000, above_low=True), "the first level, above 0")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CutSigmas(Sigmas):
    """The steps from ``start`` to ``end`` of a schedule, as KSamplerAdvanced runs them."""

    sigmas: Sigmas = link(Sigmas)
    start: int = parameter(0, WholeNumber(0, MAX_STEPS), "the first step, counted from 0")
    end: int = parameter(MAX_STEPS, WholeNumber(0, MAX_STEPS), "the step before which it ends")
    leftover_noise: bool = parameter(False, Flag(), "whether it ends at that step's level rather than at 0")


class Noise(Node):
    """What a sampling begins from."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RandomNoise(Noise):
    """Unit noise drawn from a seed."""

    seed: int = parameter(0, Seed(optional=False), "0 to 2^64-1")
    start_noise: str = parameter("cpu", _NOISE_DEVICE, "whose generator the start noise is that of")
    step_noise: str = parameter("cpu", _NOISE_DEVICE, "whose generator the noise of the steps is that of")
    factor: float = parameter(1.0, Number(0, 100), "by which the start noise is multiplied")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class NoNoise(Noise):
    """No noise at the start. Samplers that draw noise at their steps draw it from the seed."""

    seed: int = parameter(0, Seed(optional=False), "0 to 2^64-1")
    step_noise: str = parameter("cpu", _NOISE_DEVICE, "whose generator the noise of the steps is that of")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Sample(Latents):
    """Latents, sampled: what every KSampler comes to."""

    guider: Guider = link(Guider)
    sampler: Sampler = link(Sampler)
    sigmas: Sigmas = link(Sigmas)
    noise: Noise = link(Noise)
    latents: Latents = link(Latents)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LastDenoised(Latents):
    """The latest denoised prediction of a sampling, whatever noise its latents are left with."""

    sample: Sample = link(Sample)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class NoiseLatents(Latents):
    """The noise that a sampling of ``latents`` would begin from, as the network sees it, in their place."""

    noise: Noise = link(Noise)
    latents: Latents = link(Latents)
