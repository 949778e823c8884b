"""Makes schedules from schedules: split in two, turned around, or with another first level. None changes its input."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.errors import BadRequest


def split(sigmas: Tensor, *, step: int) -> tuple[Tensor, Tensor]:
    """Return the sigmas up to and from ``step`` (0 or more): both parts hold the sigma at which they meet."""
    if step < 0:
        raise BadRequest("step", step, "a whole number from 0")
    return sigmas[: step + 1], sigmas[step:]


def split_denoise(sigmas: Tensor, *, denoise: float) -> tuple[Tensor, Tensor]:
    """Return the sigmas before, and those of, the last ``round(steps · denoise)`` steps; ``denoise`` is 0 … 1.

    Both parts hold the sigma at which they meet. As in ComfyUI, the first is empty where the second has no step.
    """
    if not 0 <= denoise <= 1:
        raise BadRequest("denoise", denoise, "a number from 0 to 1")
    count = round(max(len(sigmas) - 1, 0) * denoise)
    return sigmas[: -count or 0], sigmas[-(count + 1) :]


def split_at(sigmas: Tensor, *, sigma: float) -> tuple[Tensor, Tensor]:
    """Return the sigmas up to and from the first that is at most ``sigma``, or the last one where none is."""
    step = next((place for place, each in enumerate(sigmas.tolist()) if each <= sigma), len(sigmas) - 1)
    return split(sigmas, step=max(0, step))


def with_first(sigmas: Tensor, *, sigma: float) -> Tensor:
    """Return the sigmas with ``sigma`` (above 0) in place of the first: SetFirstSigma's rule.

    Raises ``BadRequest`` where there is no first sigma, or ``sigma`` is not above 0.
    """
    if not sigma > 0:
        raise BadRequest("sigma", sigma, "a number above 0")
    if len(sigmas) == 0:
        raise BadRequest("sigmas", "no levels", "a schedule of at least one level")
    return torch.cat([torch.tensor([sigma], dtype=sigmas.dtype), sigmas[1:]])


def flip(sigmas: Tensor) -> Tensor:
    """Return the sigmas from last to first, for sampling from a picture to its noise; a leading 0 becomes 0.0001."""
    turned = sigmas.flip(0)
    if len(turned) and turned[0] == 0:
        turned[0] = 0.0001
    return turned
