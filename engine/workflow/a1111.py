"""Nodes for sampling as AUTOMATIC1111 samples: how it reads a model, its noise, its schedules, its samplers."""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Flag, Number, OneOf, Seed, WholeNumber, parameter
from engine.sampling.a1111.schedules import SCHEDULES
from engine.sampling.devices import NOISE_DEVICES
from engine.sampling.samplers.table import FURTHER_SAMPLERS
from engine.workflow.latents import MAX_SIDE
from engine.workflow.models import Model
from engine.workflow.node import link
from engine.workflow.patches import Reading
from engine.workflow.sampling import MAX_STEPS, Guider, Noise, Sampler, Sigmas
from engine.workflow.text import Conditioning

STARTS = ("sigma", "variance", "above")
"""How much noise a sampling begins with: σ of it; as much as noised latents of unit variance have, √(1 + σ²); or the σ
of the level above the first, of which the same z is taken for that of the first."""

UNI_PC_TIMES = ("uniform", "quadratic", "log_snr")

STEPS = WholeNumber(1, MAX_STEPS)
SIGMA = Number(0, 5000)
SHAPE = Number(0, 50, above_low=True)
FACTOR = Number(0, 100)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FractionalReading(Reading):
    """A model whose timesteps are interpolated between the trained ones, as k-diffusion reads it."""

    model: Model = link(Model)
    sampling: str = parameter("eps", OneOf(("eps", "v_prediction", "lcm")), "what the network predicts")
    zsnr: bool = parameter(False, Flag(), "whether nothing of the picture is left at the last timestep (2305.08891)")
    half: bool = parameter(False, Flag(), "whether the levels are made of variances in half precision")
    rounded: bool = parameter(False, Flag(), "whether timesteps are rounded after all")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WithRests(Conditioning):
    """Negative prompts that guidance does without at times, for speed, as AUTOMATIC1111 lets it."""

    conditioning: Conditioning = link(Conditioning)
    below: float = parameter(0.0, SIGMA, "the level below which they rest; 0: nowhere")
    alternate: bool = parameter(True, Flag(), "whether in every second evaluation alone")
    until: float = parameter(0.0, Number(0, 1), "the share of the evaluations in which they rest at first; 0: in none")
    evaluations: int = parameter(20, WholeNumber(1, 10 * MAX_STEPS), "evaluations of the sampling")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RefinedGuider(Guider):
    """One guider at first, and from some point of the sampling on another, whose checkpoint may be another."""

    first: Guider = link(Guider)
    second: Guider = link(Guider)
    share: float = parameter(0.8, Number(0, 1), "the share of the sampling behind which the second one guides")
    evaluations: int = parameter(
        0, WholeNumber(0, 10 * MAX_STEPS), "evaluations of the sampling, of which it is a share; 0: of timesteps"
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PaddedGuider(Guider):
    """A guider whose prompts have one number of tokens, so that they share calls.

    The shorter ones get the tokens of ``filler`` behind their own. Without a filler it is the negative prompt alone
    that changes: its last token is repeated, or what it has more than the others is cut off.
    """

    guider: Guider = link(Guider)
    filler: Conditioning | None = link(Conditioning, optional=True)
    """Of 77 tokens, such as an empty prompt."""


def guiders_of(guider: Guider) -> tuple[Guider, ...]:
    """Return the guiders that guide one after the other, each with a model of its own."""
    if isinstance(guider, RefinedGuider):
        return (*guiders_of(guider.first), *guiders_of(guider.second))
    return guiders_of(guider.guider) if isinstance(guider, PaddedGuider) else (guider,)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PictureNoise(Noise):
    """Unit noise with a generator for each picture, whose seeds count up from picture to picture.

    The noise of the steps goes on where the start noise ended. With a variation it is the variation's seeds that count
    up, and all pictures have the same seed.
    """

    seed: int = parameter(0, Seed(optional=False), "of the first picture, 0 to 2^64-1")
    drawn_on: str = parameter("cuda", OneOf(NOISE_DEVICES), "whose generator it is, for any size of picture")
    step_delta: int = parameter(
        0, WholeNumber(0, 2**53), "added to the seed for the noise of the steps; 0: the same generator goes on"
    )
    variation_seed: int = parameter(0, Seed(optional=False), "of the noise that the start noise is turned towards")
    variation_strength: float = parameter(0.0, Number(0, 1), "how far it is turned")
    from_width: int = parameter(
        0, WholeNumber(0, MAX_SIDE), "width of the picture whose noise is in the middle; 0: none"
    )
    from_height: int = parameter(0, WholeNumber(0, MAX_SIDE), "its height; 0: none")
    start: str = parameter("sigma", OneOf(STARTS), "how much there is at first: sigma, √(1 + sigma²), the level above")
    factor: float = parameter(1.0, FACTOR, "by which the start noise is multiplied")
    extra: float = parameter(0.0, FACTOR, "how much of the start noise is added to the latents beside")
    span: Sigmas | None = link(Sigmas, optional=True)
    """The schedule that Brownian paths go through; None: the one that is sampled."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class A1111Sigmas(Sigmas):
    """The levels of one of AUTOMATIC1111's schedule types."""

    model: Model = link(Model)
    schedule: str = parameter("uniform", OneOf(tuple(SCHEDULES)), "schedule type")
    steps: int = parameter(20, STEPS, "sampling steps")
    discard_penultimate: bool = parameter(False, Flag(), "whether the last but one of one level more is left out")
    sigma_min: float = parameter(0.0, SIGMA, "the last level before 0; 0: the model's")
    sigma_max: float = parameter(0.0, SIGMA, "the first level; 0: the model's")
    rho: float = parameter(0.0, Number(0, 100), "the power of schedules that have one; 0: their own")
    alpha: float = parameter(0.6, SHAPE, "the beta distribution's first shape")
    beta: float = parameter(0.6, SHAPE, "its second shape")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TimestepSigmas(Sigmas):
    """The levels of evenly spaced timesteps from the top down to timestep 1, without a 0 at the end."""

    model: Model = link(Model)
    steps: int = parameter(20, STEPS, "sampling steps; there may be others than that")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class UniPcSigmas(Sigmas):
    """The levels that AUTOMATIC1111's UniPC chooses by the number of timesteps alone, without a 0 at the end."""

    model: Model = link(Model)
    steps: int = parameter(20, STEPS, "sampling steps; there may be others than that")
    times: str = parameter("uniform", OneOf(UNI_PC_TIMES), "what is evenly spaced: the time, its root, or log sigma")
    run: int = parameter(0, WholeNumber(0, MAX_STEPS), "of the timesteps, the lowest so many are run; 0: all")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FurtherSampler(Sampler):
    """An integration rule that ComfyUI does not have, or not in this form."""

    name: str = parameter("restart", OneOf(tuple(FURTHER_SAMPLERS)), "integration rule")
