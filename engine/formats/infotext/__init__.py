"""AUTOMATIC1111's generation parameters, written and read."""

from engine.formats.infotext.labels import (
    SAMPLER_LABELS,
    SCHEDULER_LABELS,
    automatic_scheduler,
    sampler_from_label,
    scheduler_from_label,
)
from engine.formats.infotext.lines import LONGEST, infotext, request_from_infotext

__all__ = [
    "LONGEST",
    "SAMPLER_LABELS",
    "SCHEDULER_LABELS",
    "automatic_scheduler",
    "infotext",
    "request_from_infotext",
    "sampler_from_label",
    "scheduler_from_label",
]
