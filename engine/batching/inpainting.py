"""Sampling that repaints what a mask covers: as a rule around guidance, and as channels beside x.

Knows no network and no node. Latents here are in the UNet's scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from engine.batching.branches import Branch
from engine.batching.guidance import Course, Guidance, Guided, Pair
from engine.batching.members import Conditioning, MaskedLatents
from engine.sampling.levels import NoiseLevels

_GREY = (0.8223, -0.6876, 0.6364, 0.1380)
"""What Stable Diffusion's encoder makes of a grey picture: what an inpainting network is given where all is new."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Repainting:
    """A rule that keeps the latents where a mask is 0 and follows ``guidance`` where it is 1 (RePaint: Lugmayr et al.
    2022, arXiv 2201.09865, without its jumps).

    Outside the mask guidance sees the latents with noise of the level at hand, and the denoised prediction is the
    latents themselves.
    """

    guidance: Guidance
    mask: Tensor
    """(B, 1, h, w) float32 on the device, 0 … 1."""
    latents: Tensor
    """(B, 4, h, w) float32 on the device."""
    noise: Tensor
    """Unit noise of the same shape, or zeros."""
    thresholds: Thresholds | None = None
    """How the mask changes with the noise level; None: not at all."""

    @property
    def pair(self) -> Pair:
        return self.guidance.pair

    def course(self, x: Tensor, sigma: Tensor, branches: Sequence[Branch]) -> Course:
        mask = self.mask if self.thresholds is None else self.thresholds.at(sigma, self.mask)
        inside = x * mask + (self.latents + self.noise * sigma) * (1 - mask)
        guided = yield from self.guidance.course(inside, sigma, branches)
        return Guided(guided.denoised * mask + self.latents * (1 - mask), guided.unconditional)


@dataclass(frozen=True, kw_only=True, eq=False)
class Keeping:
    """A rule that follows ``guidance`` where a mask is 1, and has the latents themselves for its prediction where it is
    0, whatever noise x has there: as AUTOMATIC1111 does."""

    guidance: Guidance
    mask: Tensor
    """(B, 1, h, w) float32 on the device, 0 … 1."""
    latents: Tensor
    """(B, 4, h, w) float32 on the device."""

    @property
    def pair(self) -> Pair:
        return self.guidance.pair

    def course(self, x: Tensor, sigma: Tensor, branches: Sequence[Branch]) -> Course:
        guided = yield from self.guidance.course(x, sigma, branches)
        return Guided(guided.denoised * self.mask + self.latents * (1 - self.mask), guided.unconditional)


@dataclass(frozen=True, kw_only=True, eq=False)
class KeepingBefore(Keeping):
    """A rule by which ``guidance`` sees the latents without any noise where a mask is 0: as AUTOMATIC1111 does for
    samplers that know timesteps. Of its prediction the noise is taken, which is then x's."""

    def course(self, x: Tensor, sigma: Tensor, branches: Sequence[Branch]) -> Course:
        clean = self.latents * torch.sqrt(
            1 + sigma**2
        )  # of unit variance they are the latents, as the network is given
        seen = x * self.mask + clean * (1 - self.mask)
        guided = yield from self.guidance.course(seen, sigma, branches)
        beyond, unconditional = x - seen, guided.unconditional
        return Guided(guided.denoised + beyond, None if unconditional is None else unconditional + beyond)


@dataclass(frozen=True, kw_only=True, eq=False)
class Thresholds:
    """Differential diffusion (Levin & Fried 2023, arXiv 2306.00950): a cell is repainted once the share of the sampling
    that is left is no larger than its value in the mask."""

    levels: NoiseLevels
    first_sigma: Tensor
    """The first of the sampling, 0-dim float32 on the CPU."""
    last_sigma: Tensor
    """The last of the sampling, or the model's smallest where that is larger."""
    strength: float = 1.0
    """The share of the thresholds, above 0 and at most 1; the rest is the mask as it is."""

    def at(self, sigma: Tensor, mask: Tensor) -> Tensor:
        """Return the mask at ``sigma``, of the same shape."""
        first, last, now = (self.levels.timestep(each) for each in (self.first_sigma, self.last_sigma, sigma))
        binary = (mask >= (now - last) / (first - last)).to(mask.dtype) if first != last else torch.ones_like(mask)
        return binary if self.strength == 1 else self.strength * binary + (1 - self.strength) * mask


def noise_mask_for(mask: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a mask (b, H, W) for latents of ``shape`` (B, 4, h, w): (B, 1, h, w), its pictures taken in turn."""
    scaled = interpolate(mask[:, None], size=tuple(shape[2:]), mode="bilinear")
    return scaled.repeat(-(-shape[0] // scaled.shape[0]), 1, 1, 1)[: shape[0]]


def with_channels(
    prompt: Conditioning, start: Tensor, noise_mask: Tensor | None, grey: Tensor | None = None
) -> Conditioning:
    """Return ``prompt`` with the five channels that an inpainting network takes beside x: a mask, and latents.

    They are those of a member's own masked picture; or else ones and ``grey`` (1, 4, h, w), the latents of a grey
    picture; or, without these, ``noise_mask`` (B, 1, h, w) and the latents that sampling starts from, ``start``
    (B, 4, h, w); without any mask, ones and what Stable Diffusion makes of grey. Masks are rounded, but for a member's
    own that says otherwise.
    """
    return tuple(replace(member, channels=_channels(member.masked, start, noise_mask, grey)) for member in prompt)


def _channels(masked: MaskedLatents | None, start: Tensor, noise_mask: Tensor | None, grey: Tensor | None) -> Tensor:
    pictures, size = start.shape[0], tuple(start.shape[2:])
    if masked is not None:
        latents = _spread(_centred(masked.latents, size), pictures)
        mask = _spread(_centred(masked.mask[:, None], size), pictures)
        mask = mask.round() if masked.rounded else mask
    elif grey is not None:
        latents, mask = grey.expand_as(start), torch.ones_like(start[:, :1])
    elif noise_mask is not None:
        latents, mask = start, noise_mask.round()
    else:
        latents = start.new_tensor(_GREY)[None, :, None, None].expand_as(start)
        mask = torch.ones_like(start[:, :1])
    return torch.cat([mask, latents], dim=1)


def _centred(values: Tensor, size: tuple[int, ...]) -> Tensor:
    """``values`` (b, c, H, W) in another size; what the aspect ratio has no room for is cut at both ends."""
    if tuple(values.shape[2:]) == size:
        return values
    height, width = values.shape[2:]
    old, new = width / height, size[1] / size[0]
    x = round((width - width * (new / old)) / 2) if old > new else 0
    y = round((height - height * (old / new)) / 2) if old < new else 0
    return interpolate(values[:, :, y : height - y, x : width - x], size=size, mode="bilinear")


def _spread(values: Tensor, count: int) -> Tensor:
    """``count`` of ``values`` (b, …): the few spread evenly over the many, or evenly chosen among them."""
    have = values.shape[0]
    if have == count:
        return values
    if count == 1:
        return values[:1]
    if count < have:
        picked = [round(i * (have - 1) / (count - 1)) for i in range(count)]
    else:
        picked = [min(int((i + 0.5) * have / count), have - 1) for i in range(count)]
    return values[picked]
