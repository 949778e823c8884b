"""What makes a sampling's denoised predictions: a model, its guidance, and what takes over from it on the way.

Knows no sampler and no node.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from engine.batching.branches import Branch
from engine.batching.denoiser import Denoiser
from engine.batching.guidance import Guidance
from engine.batching.patching import Patching
from engine.sampling.parametrization import EPS, Parametrization

_TIMESTEPS = 1000
"""Of Stable Diffusion 1's training. A takeover counts in these whatever the number of a model's levels, as in
AUTOMATIC1111: in a consistency model, which has 50, the last twentieth begins at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """A model and how its predictions are put together."""

    guidance: Guidance
    branches: tuple[Branch, ...]
    """The guidance's."""
    denoiser: Denoiser
    """What makes its predictions."""
    parametrization: Parametrization = EPS
    patching: Patching | None = None
    """Wanted where any of the branches has patches."""
    then: Takeover | None = None
    """What takes over from it, and when; None: nothing does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Takeover:
    """Another predictor for the evaluations from some point on."""

    predictor: Predictor
    share: float
    """The share of the timesteps, or of the evaluations, that lie before that point, 0 … 1."""
    evaluations: int = 0
    """Of the sampling, about, where it is a share of these; 0: of the timesteps."""

    def due(self, sigma: Tensor, evaluation: int, sigmas: Tensor) -> bool:
        """Return whether an evaluation at ``sigma``, counted from 0, is behind that point.

        ``sigmas``: the levels (n,) of the model that predicts until then.
        """
        if self.evaluations:
            return evaluation / self.evaluations >= self.share
        nearest = int((sigmas - sigma).abs().argmin())
        return (_TIMESTEPS - 1 - nearest) / _TIMESTEPS >= self.share
