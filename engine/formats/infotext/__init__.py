"""AUTOMATIC1111's generation parameters, written and read."""

from engine.formats.infotext.labels import (
    LATENT_UPSCALERS,
    SAMPLER_LABELS,
    SCHEDULER_LABELS,
    UPSCALER_FILES,
    automatic_scheduler,
    sampler_from_label,
    scheduler_from_label,
)
from engine.formats.infotext.lines import LONGEST
from engine.formats.infotext.reading import request_from_infotext
from engine.formats.infotext.writing import infotext

__all__ = [
    "LATENT_UPSCALERS",
    "LONGEST",
    "SAMPLER_LABELS",
    "SCHEDULER_LABELS",
    "UPSCALER_FILES",
    "automatic_scheduler",
    "infotext",
    "request_from_infotext",
    "sampler_from_label",
    "scheduler_from_label",
]
