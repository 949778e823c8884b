"""A request for AUTOMATIC1111's picture → the nodes that sample it. Knows no prompt and no picture."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import BadRequest
from engine.sampling.a1111.samplers import AUTOMATIC, SamplerRule, rule_of
from engine.sampling.a1111.schedules import SCHEDULES
from engine.sampling.samplers.table import FURTHER_SAMPLERS, sampler_named
from engine.workflow.a1111 import (
    A1111Sigmas,
    FractionalReading,
    FurtherSampler,
    PaddedGuider,
    PictureNoise,
    RefinedGuider,
    TimestepSigmas,
    UniPcSigmas,
    WithRests,
)
from engine.workflow.encoding import WithKeptLatents
from engine.workflow.inpainting import ShownGrey
from engine.workflow.masks import Mask
from engine.workflow.models import Checkpoint, Model, Vae
from engine.workflow.node import in_order
from engine.workflow.patches import EnlargedByTwo
from engine.workflow.sampling import Guider, Sample, Sampler, Sigmas, SplitSigmas
from engine.workflow.substitution import substituted
from engine.workflow.text import Conditioning, EncodeText

if TYPE_CHECKING:
    from engine.request import GenerationRequest
    from engine.request_a1111 import A1111
    from engine.workflow.latents import Latents

STRONGEST = 0.999
"""What a strength of 1 is, as in AUTOMATIC1111."""

_TIMESTEPS = 1000
"""Of Stable Diffusion 1's training."""

_EVEN = 64
"""Pixels of a side that the network halves three times without a remainder."""

_DEVICES = {"nv": "cuda", "cpu": "cpu"}


@dataclass(frozen=True, kw_only=True)
class A1111Pass:
    """What a pass of a request is made of, beside its guider and its latents."""

    request: GenerationRequest
    part: A1111
    second: bool = False
    """Whether it is a second pass, which runs all of its steps whatever its strength."""

    @property
    def rule(self) -> SamplerRule:
        """How AUTOMATIC1111 samples with the pass's sampler."""
        return rule_of(self.part.sampler or self.request.sampler)

    @property
    def schedule(self) -> str:
        """The schedule type. Raises ``BadRequest`` for one that AUTOMATIC1111 does not have."""
        asked = self.part.schedule or self.request.scheduler
        if asked == AUTOMATIC:
            return self.rule.schedule
        if asked not in SCHEDULES:
            raise BadRequest("scheduler", asked, f"one of {', '.join(SCHEDULES)}, for AUTOMATIC1111's picture")
        return asked

    def read(self, model: Model, vae: Vae) -> Model:
        """Return ``model`` as AUTOMATIC1111 reads it; ``vae`` encodes what it is shown, if it is for inpainting."""
        part, rule = self.part, self.rule
        model = ShownGrey(model=model, vae=vae)
        if self.request.width % _EVEN or self.request.height % _EVEN:
            model = EnlargedByTwo(model=model)
        return FractionalReading(
            model=model,
            sampling="lcm" if rule.consistency else "eps",
            zsnr=part.zero_terminal_snr,
            half=part.use_downcasted_alpha_bar,
            rounded=part.enable_quantization,
        )

    def rested(self, negative: Conditioning, evaluations: int) -> Conditioning:
        """Return the negative prompt with its rests, if it has any, in a pass of so many evaluations."""
        part = self.part
        if not part.s_min_uncond and not part.skip_early_cond:
            return negative
        return WithRests(
            conditioning=negative,
            below=part.s_min_uncond,
            alternate=not part.s_min_uncond_all,
            until=part.skip_early_cond,
            evaluations=evaluations,
        )

    def padded(self, guider: Guider) -> Guider:
        """Return ``guider`` with prompts of one length, if they are to have that: an empty one behind the shorter,
        of the checkpoint's last layer whatever changes its other prompts."""
        part = self.part
        if part.pad_cond_uncond_v0:
            return PaddedGuider(guider=guider)
        if part.pad_cond_uncond:
            return PaddedGuider(guider=guider, filler=EncodeText(clip=Checkpoint(name=self.request.model), text=""))
        return guider

    @property
    def refiner(self) -> Checkpoint | None:
        """The checkpoint that ends the pass; None: its own does. Of two passes it ends the second alone."""
        first_of_two = self.request.hires is not None and not self.second
        name = self.part.refiner
        return None if name is None or name == self.request.model or first_of_two else Checkpoint(name=name)

    def refined(self, guider: Guider, other: Guider, evaluations: int) -> Guider:
        """Return ``guider``, from which ``other`` takes over in a pass of so many evaluations."""
        part = self.part
        counted = evaluations if part.refiner_switch_by_sample_steps else 0
        return RefinedGuider(first=guider, second=other, share=part.refiner_switch_at, evaluations=counted)

    def sampled(self, guider: Guider, model: Model, latents: Latents) -> Sample:
        """Return the sampling of ``latents`` by ``guider``, whose model is ``model``, from start to end."""
        sigmas, noise = self.sigmas(model), self.noise
        sample = Sample(guider=guider, sampler=self.sampler, sigmas=sigmas, noise=noise, latents=latents)
        request = self.request
        if self.second or request.image is not None:
            return painted_over(sample, self.part, latents, request.denoise, second=self.second)
        return sample if request.denoise == 1 else painted_over(sample, self.part, latents, request.denoise)

    def sigmas(self, model: Model) -> Sigmas:
        """Return the whole schedule."""
        part, steps = self.part, self.request.steps
        discard = self.rule.discards_penultimate or part.always_discard_next_to_last_sigma
        if self.rule.levels == "timesteps":
            return TimestepSigmas(model=model, steps=steps + part.always_discard_next_to_last_sigma)
        if self.rule.levels == "uni_pc":
            from engine.request_a1111 import UNI_PC_SKIPS

            more = part.always_discard_next_to_last_sigma
            return UniPcSigmas(model=model, steps=steps + more, times=UNI_PC_SKIPS[part.uni_pc_skip_type])
        return A1111Sigmas(
            model=model,
            schedule=self.schedule,
            steps=steps,
            discard_penultimate=discard,
            sigma_min=part.sigma_min,
            sigma_max=part.sigma_max,
            rho=part.rho,
            alpha=part.beta_dist_alpha,
            beta=part.beta_dist_beta,
        )

    @property
    def sampler(self) -> Sampler:
        """The sampler, with its options; those that have their defaults are left out."""
        part, rule = self.part, self.rule
        asked = {name: getattr(part, name) for name in rule.takes if name != "eta"}
        if "eta" in rule.takes:
            asked["eta"] = rule.eta if part.eta is None else part.eta
        if not asked.get("s_tmax", 1):
            del asked["s_tmax"]
        if rule.whole:
            asked |= {"whole": 1, "n": self.request.steps}
        if rule.levels == "uni_pc":
            asked |= {"variant": part.uni_pc_variant, "order": part.uni_pc_order}
            asked["lower_order_final"] = int(part.uni_pc_lower_order_final)
        defaults = sampler_named(rule.name).options
        options = tuple((name, asked[name]) for name in defaults if name in asked and asked[name] != defaults[name])
        kind = FurtherSampler if rule.name in FURTHER_SAMPLERS else Sampler
        return kind(name=rule.name, options=options)

    @property
    def noise(self) -> PictureNoise:
        """The noise from the pictures' seeds."""
        part, seed = self.part, self.request.seed
        assert seed is not None
        whole = part.sgm_noise_multiplier or self.rule.levels != "schedule"
        return PictureNoise(
            seed=seed,
            drawn_on=_DEVICES[part.rng],
            step_delta=part.ensd,
            variation_seed=part.subseed,
            variation_strength=part.subseed_strength,
            from_width=part.seed_resize_from_w if part.seed_resize_from_h else 0,
            from_height=part.seed_resize_from_h if part.seed_resize_from_w else 0,
            start="variance" if whole else "sigma",
        )


def kept(sample: Sample, latents: Latents, mask: Mask) -> Latents:
    """Return ``latents`` of which ``sample`` paints anew what ``mask`` covers, and keeps the rest; samplers that know
    timesteps alone see the rest without noise."""
    seen = "sampled" if isinstance(sample.sigmas, A1111Sigmas) else "latents"
    return WithKeptLatents(latents=latents, mask=mask, seen=seen)


def painted_over(sample: Sample, part: A1111, latents: Latents, strength: float, *, second: bool = False) -> Sample:
    """Return the sampling of ``sample``, which begins from noise alone, over other latents at a strength.

    It runs int(strength · steps) + 1 steps of its schedule; a ``second`` pass, and any with ``img2img_fix_steps``,
    runs all of them, of a schedule that is the longer. Samplers that know timesteps alone run one less.
    """
    whole, noise, strength = sample.sigmas, sample.noise, min(strength, STRONGEST)
    assert isinstance(whole, A1111Sigmas | TimestepSigmas | UniPcSigmas)
    assert isinstance(noise, PictureNoise)
    steps, exact = whole.steps, second or part.img2img_fix_steps
    behind = steps - 1 if exact else int(strength * steps)
    if exact:
        steps = int(steps / strength) if strength else 1
        whole = dataclasses.replace(whole, steps=steps)
    sigmas, span, start = _end(whole, behind)
    guider = _counted(sample.guider, (behind + 1) * sampler_named(sample.sampler.name).evaluations)
    sampler = dataclasses.replace(
        sample.sampler, options=tuple(each for each in sample.sampler.options if each[0] not in ("whole", "n"))
    )
    factor = 1.0 if second else part.initial_noise_multiplier
    noise = dataclasses.replace(noise, span=span, start=start, factor=factor, extra=part.img2img_extra_noise)
    return dataclasses.replace(sample, guider=guider, sampler=sampler, sigmas=sigmas, noise=noise, latents=latents)


def _counted(guider: Guider, evaluations: int) -> Guider:
    """Return ``guider`` for a sampling of so many evaluations, of which shares are taken."""
    rests = [node for node in in_order(guider) if isinstance(node, WithRests)]
    guider = substituted(guider, {node: dataclasses.replace(node, evaluations=evaluations) for node in rests})
    if isinstance(guider, RefinedGuider) and guider.evaluations:
        return dataclasses.replace(guider, evaluations=evaluations)
    return guider


def _end(whole: A1111Sigmas | TimestepSigmas | UniPcSigmas, behind: int) -> tuple[Sigmas, Sigmas, str]:
    """Return the levels that are run, with ``behind`` steps behind the first; the whole schedule; and the noise that
    there is at first."""
    if isinstance(whole, A1111Sigmas):
        return SplitSigmas(sigmas=whole, step=max(whole.steps - behind - 1, 0), part="low"), whole, "sigma"
    if isinstance(whole, UniPcSigmas):
        span = TimestepSigmas(model=whole.model, steps=whole.steps)
        return dataclasses.replace(whole, run=behind), span, "above"
    spacing = max(_TIMESTEPS // whole.steps, 1)
    count = -(-_TIMESTEPS // spacing)
    return SplitSigmas(sigmas=whole, step=count - behind, part="low"), whole, "above"
