"""Which noise levels a sampling passes through: the rules of ComfyUI's KSamplers and of its sigma nodes."""

from engine.sampling.schedules.custom import (
    ALIGN_YOUR_STEPS_MODELS,
    align_your_steps,
    beta_sampling,
    exponential,
    karras,
    laplace,
    polyexponential,
    sd_turbo,
    vp,
)
from engine.sampling.schedules.edits import flip, split, split_at, split_denoise, with_first
from engine.sampling.schedules.rules import MAX_SCHEDULE, basic, cut, sigmas, stands_still

__all__ = [
    "ALIGN_YOUR_STEPS_MODELS",
    "MAX_SCHEDULE",
    "align_your_steps",
    "basic",
    "beta_sampling",
    "cut",
    "exponential",
    "flip",
    "karras",
    "laplace",
    "polyexponential",
    "sd_turbo",
    "sigmas",
    "split",
    "split_at",
    "split_denoise",
    "stands_still",
    "vp",
    "with_first",
]
