"""What the version that wrote an infotext says about its picture, where it says nothing of its settings."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engine.formats.infotext.prompt_keys import OLD_TIMELINES

_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:-(\d{1,6}))?(?:-.*)?")

_NEW_TIMELINES = (1, 6, 0, 0)
_WHOLE_LEVELS = (1, 7, 0, 225)
_PADDING = ("DDIM", "PLMS")
"""The samplers for which versions below 1.6.0 brought the negative prompt to the prompt's length."""
_SWITCH_BY_LEVELS = (1, 8, 0, 0)

HALF_LEVELS = "Downcast alphas_cumprod"
PADDED_NEGATIVE = "Pad conds v0"
REFINER = "Refiner"
SWITCH_BY_STEPS = "Refiner switch by sampling steps"


def with_switches(pairs: Mapping[str, str], prompt: str) -> dict[str, str]:
    """Return the pairs with the settings that make a newer AUTOMATIC1111 repeat what an older one did.

    Below 1.6.0 numbers in a prompt with ``[`` were read otherwise, and some samplers padded negative prompts; up to
    1.7.0 noise levels were computed in half precision; below 1.8.0 a refiner took over by the steps. A text without a
    version, or with one that is not AUTOMATIC1111's, is left as it is.
    """
    version = _version_of(pairs.get("Version", ""))
    added: dict[str, str] = {}
    if version is not None and version < _NEW_TIMELINES and "[" in prompt:
        added[OLD_TIMELINES] = "True"
    if version is not None and version < _NEW_TIMELINES and pairs.get("Sampler") in _PADDING:
        added[PADDED_NEGATIVE] = "True"
    if version is not None and version < _WHOLE_LEVELS:
        added[HALF_LEVELS] = "True"
    if version is not None and version < _SWITCH_BY_LEVELS and REFINER in pairs:
        added[SWITCH_BY_STEPS] = "True"
    return added | dict(pairs)


def _version_of(text: str) -> tuple[int, ...] | None:
    """``v1.7.0-225-gb15d…`` → (1, 7, 0, 225): the last is the number of changes behind the version."""
    found = _VERSION.fullmatch(text)
    return None if found is None else tuple(int(part or 0) for part in found.groups())
