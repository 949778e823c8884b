"""How a sampler talks to what drives it. Knows no sampler and no driver."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from torch import Tensor

from engine.sampling.noise import StepNoise


@dataclass(frozen=True, eq=False)
class Scalar:
    """A sampler's request for the value of ``tensor``, 0-dim on x's device, as a Python float."""

    tensor: Tensor


class Stage(NamedTuple):
    """What a sampler yields to have another point of the same step evaluated.

    The prediction of a step's first evaluation, yielded as a plain pair, is what the step shows as its ``denoised``;
    those of its stages only serve the sampler.
    """

    x: Tensor
    sigma: Tensor


Sampling: TypeAlias = Generator[tuple[Tensor, Tensor], Tensor, Tensor]
"""Yields ``(x, sigma)`` once a step, and ``Stage``s after it, is sent ``denoised`` each time and returns the final x.

x, denoised: (B, 4, h, w) float32 on the device. sigma: 0-dim float32 on the CPU, one for the whole batch. It may return
without having yielded. What was yielded or sent is never changed in place, by neither side, and may be returned.
"""

PairSampling: TypeAlias = Generator[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]
"""As ``Sampling``, but is sent ``(denoised, unconditional)``: the prediction after guidance and that of the negative
prompt alone. The records of these samplers have ``needs_unconditional``.
"""

AdaptiveSampling: TypeAlias = Generator["tuple[Tensor, Tensor] | Scalar", Any, Tensor]
"""As ``Sampling``, and may yield a ``Scalar``, to be sent a float."""


class Sampler(Protocol):
    """An integration rule from the noise level ``sigmas[0]``, at which ``x`` is, to the last of ``sigmas``.

    ``sigmas``: (n+1,) float32 on the CPU, falling; the last is 0 unless noise is to be left over. What is yielded how
    often follows from ``sigmas`` and ``options`` alone, except where the record says ``adaptive``. The options are
    those of the record, and ``levels`` where it has ``needs_levels``.
    """

    def __call__(self, x: Tensor, sigmas: Tensor, noise: StepNoise, /, **options: Any) -> AdaptiveSampling: ...
