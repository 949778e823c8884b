"""Samplings as nodes: that of a request, one that starts from other latents, one that another checkpoint ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from engine import GenerationRequest
from engine.request_a1111 import A1111
from engine.workflow.a1111_sampling import STRONGEST, kept, painted_over
from engine.workflow.composing import ComposedGuider
from engine.workflow.encoding import CompositeLatentsMasked, WithNoiseMask
from engine.workflow.latents import Latents
from engine.workflow.masks import Mask
from engine.workflow.models import Vae
from engine.workflow.node import Node, in_order
from engine.workflow.pictures import Decode
from engine.workflow.sampling import (
    CfgGuider,
    Guider,
    NoNoise,
    RandomNoise,
    Sample,
    ScheduledSigmas,
    Sigmas,
    SplitSigmas,
    SplitSigmasAtShare,
)
from engine.workflow.substitution import substituted
from engine.workflow.text import Conditioning, EncodeA1111Text


@dataclass(frozen=True, kw_only=True)
class Pass:
    """A sampling, and the VAE that goes with its checkpoint."""

    sample: Sample
    vae: Vae
    part: A1111 | None = None
    """What asks for AUTOMATIC1111's picture; None: it is ComfyUI's."""
    below: Latents | None = None
    """What its latents lie on at the end, where ``cells`` does not cover all of it."""
    cells: Mask | None = None
    """What of the latents below is painted anew."""

    @staticmethod
    def of(request: GenerationRequest) -> Pass:
        """Return the sampling of a request's prompts, whatever else it has: from noise, of its size."""
        plain = dataclasses.replace(request, image=None, mask=None, hires=None, upscale=None)
        nodes = in_order(*plain.workflow().outputs.values())
        decode = next(node for node in nodes if isinstance(node, Decode))
        return Pass(sample=cast(Sample, decode.latents), vae=decode.vae, part=request.a1111)

    @property
    def latents(self) -> Latents:
        """What it leaves."""
        if self.below is None:
            return self.sample
        return CompositeLatentsMasked(below=self.below, above=self.sample, mask=self.cells)

    def painted_over(
        self, latents: Latents, strength: float, *, exact: bool = False, cells: Mask | None = None
    ) -> Pass:
        """Return it from other latents, at a strength. ``exact``: whether it runs all of its steps; ``cells``: the mask
        of what it paints anew, a value for each latent cell."""
        if self.part is not None:
            start = latents if cells is None else kept(self.sample, latents, cells)
            sample = painted_over(self.sample, self.part, start, strength, second=exact)
            below = None if cells is None else latents
            return dataclasses.replace(self, sample=sample, below=below, cells=cells)
        latents = latents if cells is None else WithNoiseMask(latents=latents, mask=cells)
        return self.starting(latents, self.lengthened(strength) if exact else self.shortened(strength))

    def starting(self, latents: Latents, sigmas: Sigmas) -> Pass:
        """Return it from other latents, through other noise levels."""
        return dataclasses.replace(self, sample=dataclasses.replace(self.sample, latents=latents, sigmas=sigmas))

    def with_noise(self, factor: float) -> Pass:
        """Return it from noise times ``factor``; AUTOMATIC1111's picture has the factor of its part already."""
        noise = self.sample.noise
        if not isinstance(noise, RandomNoise):
            return self
        return dataclasses.replace(
            self, sample=dataclasses.replace(self.sample, noise=dataclasses.replace(noise, factor=factor))
        )

    def steered(self, change: Callable[[Conditioning], Conditioning], *, negative: bool = True) -> Pass:
        """Return it with all its prompts changed; without the negative one, unless ``negative``."""
        guider = self.sample.guider
        prompts = {
            source
            for node in in_order(guider)
            if not isinstance(node, Conditioning)
            for source in node.sources()
            if isinstance(source, Conditioning)
        }
        changed = substituted(guider, {prompt: change(prompt) for prompt in prompts})
        if not negative:
            assert isinstance(guider, CfgGuider | ComposedGuider)  # those of requests are
            changed = dataclasses.replace(cast(Any, changed), negative=guider.negative)
        return dataclasses.replace(self, sample=dataclasses.replace(self.sample, guider=changed))

    def behind(self, first: Pass) -> Pass:
        """Return it as what comes behind ``first``, whose evaluations the numbers in its prompts count too."""
        before = max((each.evaluations for each in _texts(first.sample.guider)), default=0)
        guider = self.sample.guider
        counted: dict[Node, Node] = {text: dataclasses.replace(text, before=before) for text in _texts(guider)}
        sample = dataclasses.replace(self.sample, guider=substituted(guider, counted))
        return dataclasses.replace(self, sample=sample)

    def ended_by(self, other: Pass, share: float) -> Pass:
        """Return it up to ``share`` of the timesteps, and ``other``, of the same size, from there on."""
        sigmas, noise = self.sample.sigmas, self.sample.noise
        model = self.sample.guider.model  # type: ignore[attr-defined]  # those of requests have one
        high, low = (SplitSigmasAtShare(sigmas=sigmas, model=model, share=share, part=part) for part in ("high", "low"))
        assert isinstance(noise, RandomNoise)
        first = dataclasses.replace(self.sample, sigmas=high)
        quiet = NoNoise(seed=noise.seed, step_noise=noise.step_noise)
        last = dataclasses.replace(other.sample, sigmas=low, noise=quiet, latents=first)
        return dataclasses.replace(other, sample=last)

    def shortened(self, strength: float) -> Sigmas:
        """Return the end of its schedule that AUTOMATIC1111 runs at a strength: int(strength · steps) + 1 of its steps,
        all of them at 1."""
        sigmas = self.sample.sigmas
        assert isinstance(sigmas, ScheduledSigmas)
        run = int(min(strength, STRONGEST) * sigmas.steps) + 1
        return sigmas if run >= sigmas.steps else SplitSigmas(sigmas=sigmas, step=sigmas.steps - run, part="low")

    def lengthened(self, strength: float) -> Sigmas:
        """Return the last steps of a longer schedule, as many as its own has: what a second pass runs."""
        sigmas = self.sample.sigmas
        assert isinstance(sigmas, ScheduledSigmas)
        return dataclasses.replace(sigmas, denoise=strength)


def _texts(guider: Guider) -> list[EncodeA1111Text]:
    return [node for node in in_order(guider) if isinstance(node, EncodeA1111Text)]
