"""The keys of an infotext: which are read, which change no picture, and which of our own say what the others cannot."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

from engine.errors import BadRequest
from engine.formats.infotext.a1111_keys import A1111_KEYS, PICTURES
from engine.formats.infotext.hires_keys import HIRES_SEED
from engine.formats.infotext.lines import Infotext
from engine.formats.infotext.prompt_keys import READING_KEYS
from engine.formats.json_text import read_json

T = TypeVar("T")

OWN: Mapping[str, str] = {
    "Prompt syntax": "prompt_syntax",
    "Step noise": "step_noise",
    "Loras": "loras",
    "Init image": "image",
    "Mask image": "mask",
    "Mask mode": "mask_mode",
    "Controls": "controls",
    "Regions": "regions",
    "Upscale": "upscale",
}
"""Our own keys → the parameters that they hold, as JSON where these are no text. AUTOMATIC1111 passes them over."""

FIRST_DENOISE = "First pass denoise"
"""Our key for what ``Denoising strength`` says where there is no second pass."""

INIT_IMAGE = "Init image hash"
"""AUTOMATIC1111's key that says of what picture it is made, which it writes where it is set to."""

ORDER = (
    *("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model", "VAE hash", "VAE"),
    *("Variation seed", "Variation seed strength", "Seed resize from", "Denoising strength"),
    *("Conditional mask weight", "Clip skip", "ENSD", INIT_IMAGE, "RNG", "Tiling"),
    *("Hires checkpoint", "Hires sampler", "Hires prompt", "Hires negative prompt", "Hires CFG Scale"),
    *("Hires schedule type", "Hires upscale", "Hires resize", "Hires steps", "Hires upscaler"),
)
"""The keys that come first in AUTOMATIC1111's texts, in its order."""

_READ = {
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Seed",
    "Size",
    "Model",
    "VAE",
    "Denoising strength",
    "Clip skip",
    "Batch size",
    "RNG",
    "ENSD",
    "Eta",
    "Eta DDIM",
    "Hires upscale",
    "Hires resize",
    "Hires upscaler",
    "Hires steps",
    "Hires sampler",
    "Hires schedule type",
    "Hires CFG Scale",
    "Hires prompt",
    "Hires negative prompt",
}
_HARMLESS = {
    "Model hash",  # names the same file as Model
    "VAE hash",
    "Batch pos",
    "Version",
    "User",
    "Created Date",
    "Source Identifier",
    "Lora hashes",  # of files that the prompt names
    "TI hashes",
    "Civitai resources",
    "Civitai metadata",
}
_HARMLESS_VALUES: Mapping[str, tuple[str, ...]] = {
    "Beta schedule alpha": ("0.6",),
    "Beta schedule beta": ("0.6",),
    "Beta scheduler alpha": ("0.6",),
    "Beta scheduler beta": ("0.6",),
    "FP8 weight": ("Disable",),
    "NGMS": ("0", "0.0"),
    "NGMS all steps": ("False",),
    "Skip Early CFG": ("0", "0.0"),
    "Pad conds": ("False",),
    "Pad conds v0": ("False",),
    "Tiling": ("False",),
    "Token merging ratio": ("0", "0.0"),
    "Token merging ratio hr": ("0", "0.0"),
    "Refiner switch by sampling steps": ("False",),
    "VAE Encoder": ("Full",),
    "VAE Decoder": ("Full",),
    "Noise multiplier": ("1", "1.0"),
    "Conditional mask weight": ("1", "1.0"),
    "Extra noise": ("0", "0.0"),
    "Cache FP16 weight for LoRA": ("False",),
}
"""Keys that would change the picture, and the values with which they do not."""


def ordered(pairs: Mapping[str, T]) -> dict[str, T]:
    """Return ``pairs`` in the order in which AUTOMATIC1111 writes them."""
    first = [key for key in ORDER if key in pairs]
    return {key: pairs[key] for key in dict.fromkeys([*first, *pairs])}


def is_of_a1111(text: Infotext) -> bool:
    """Whether the picture is AUTOMATIC1111's: that of its own texts and its relatives', and of ours that say so.

    Programs that make ComfyUI's pictures and write such texts say so in ``Version``.
    """
    if text.ours:
        return text.pairs.get(PICTURES) == "a1111"
    return not text.pairs.get("Version", "").casefold().startswith("comfyui")


def check_keys(text: Infotext, replaced: Collection[str] = ()) -> None:
    """Raise ``BadRequest``, naming the key, for what would change the picture and is not read.

    ``replaced`` are the parameters that a caller gives in place of the text's.
    """
    read = _READ | READING_KEYS | (A1111_KEYS if is_of_a1111(text) else frozenset())
    read |= {INIT_IMAGE} if "image" in replaced else set()
    for key, value in text.pairs.items():
        if key in read or key in _HARMLESS or value in _HARMLESS_VALUES.get(key, ()):
            continue
        if text.ours and (key in OWN or key in (FIRST_DENOISE, HIRES_SEED, PICTURES) or key.startswith("ControlNet ")):
            continue
        if key == "Hashes" and _names_known_files(value, text):
            continue
        allowed = "a text without this key, which this engine does not support"
        if key.startswith("ControlNet "):
            allowed = "a text without it: the picture that a ControlNet follows is not in the text"
        if key == INIT_IMAGE:
            allowed = "a text without it: the picture to start from is not in the text"
        raise BadRequest(f"infotext {key}", value, allowed)


def _names_known_files(hashes: str, text: Infotext) -> bool:
    """Whether all hashes are of files that the text names elsewhere."""
    try:
        names = read_json(hashes)
    except ValueError:
        return False
    named = {"model", *(["vae"] if "VAE" in text.pairs else [])}
    return isinstance(names, dict) and all(name in named or name.startswith(("lora:", "embed:")) for name in names)
