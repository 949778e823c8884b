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
from engine.formats.infotext.lines import LONGEST, with_pairs
from engine.formats.infotext.reading import request_from_infotext
from engine.formats.infotext.writing import infotext, pairs_of_hashes

__all__ = [
    "LATENT_UPSCALERS",
    "LONGEST",
    "SAMPLER_LABELS",
    "SCHEDULER_LABELS",
    "UPSCALER_FILES",
    "automatic_scheduler",
    "infotext",
    "pairs_of_hashes",
    "request_from_infotext",
    "sampler_from_label",
    "scheduler_from_label",
    "with_pairs",
]
