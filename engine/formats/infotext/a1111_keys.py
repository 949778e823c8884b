"""The keys of an infotext for what only AUTOMATIC1111's picture depends on ⇄ the part of a request that says it.

Knows no sampler's label and no prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engine.errors import BadRequest
from engine.formats.foreign import foreign_value
from engine.formats.infotext.versions import HALF_LEVELS, PADDED_NEGATIVE, REFINER, SWITCH_BY_STEPS
from engine.parameters import Kind, parameters_of, within
from engine.request_a1111 import A1111
from engine.sampling.a1111.samplers import rule_of

PICTURES = "Pictures"
"""Our key for whose picture it is, where it is not ComfyUI's."""

_BETA: Mapping[str, str] = {"Beta schedule alpha": "beta_dist_alpha", "Beta schedule beta": "beta_dist_beta"}
"""Keys that are always there where the schedule type is ``beta``."""

_TAKEN = ("eta", "s_churn", "s_tmin", "s_tmax", "s_noise")
"""What counts for the samplers that take it."""

_SCALARS: Mapping[str, str] = {
    "ENSD": "ensd",
    "Sigma churn": "s_churn",
    "Sigma tmin": "s_tmin",
    "Sigma tmax": "s_tmax",
    "Sigma noise": "s_noise",
    "Schedule max sigma": "sigma_max",
    "Schedule min sigma": "sigma_min",
    "Schedule rho": "rho",
    **_BETA,
    "Discard penultimate sigma": "always_discard_next_to_last_sigma",
    "SGM noise multiplier": "sgm_noise_multiplier",
    HALF_LEVELS: "use_downcasted_alpha_bar",
    "UniPC variant": "uni_pc_variant",
    "UniPC skip type": "uni_pc_skip_type",
    "UniPC order": "uni_pc_order",
    "UniPC lower order final": "uni_pc_lower_order_final",
    "Variation seed": "subseed",
    "Variation seed strength": "subseed_strength",
    "NGMS": "s_min_uncond",
    "NGMS all steps": "s_min_uncond_all",
    "Skip Early CFG": "skip_early_cond",
    "Noise multiplier": "initial_noise_multiplier",
    "Extra noise": "img2img_extra_noise",
    "Pad conds": "pad_cond_uncond",
    PADDED_NEGATIVE: "pad_cond_uncond_v0",
    SWITCH_BY_STEPS: "refiner_switch_by_sample_steps",
    REFINER: "refiner",
    "Refiner switch at": "refiner_switch_at",
    "Conditional mask weight": "inpainting_mask_weight",
    "Quantization": "enable_quantization",
    "Fixed steps": "img2img_fix_steps",
    "Inpaint overlay": "overlay_inpaint",
}
"""Keys with one value → the field. The last three are ours: AUTOMATIC1111 writes nothing of them."""

_READ_TOO: Mapping[str, str] = {
    "Beta scheduler alpha": "beta_dist_alpha",
    "Beta scheduler beta": "beta_dist_beta",
}
"""What AUTOMATIC1111 reads in the place of what it writes."""

_ETA, _ETA_DDIM, _LEVELS, _RESIZED = "Eta", "Eta DDIM", "Noise Schedule", "Seed resize from"
_RNG: Mapping[str, str] = {"GPU": "nv", "NV": "nv", "CPU": "cpu"}
_ZERO_TERMINAL = "Zero Terminal SNR"
_SIZE = re.compile(r"(\d{1,9})x(\d{1,9})")
_HASH_BEHIND = re.compile(r" \[[0-9a-fA-F]{10}\]$")

A1111_KEYS = frozenset({*_SCALARS, *_READ_TOO, _ETA, _ETA_DDIM, _LEVELS, _RESIZED})
"""The keys that are read where the picture is AUTOMATIC1111's."""

_FIELDS = parameters_of(A1111)


def part_of(pairs: Mapping[str, str], *samplers: str) -> A1111:
    """Return what ``pairs`` say of a picture of AUTOMATIC1111's, but for samplers and schedules.

    ``samplers`` are those of its passes. Noise without ``RNG`` is a GPU's. Raises ``BadRequest``, naming the key, for a
    value out of range.
    """
    values: dict[str, Any] = {}
    if REFINER in pairs:
        pairs = {**pairs, REFINER: _HASH_BEHIND.sub("", pairs[REFINER])}
    eta = {key: "eta" for sampler in reversed(samplers) if (key := _eta_key(sampler)) is not None}
    for key, name in {**_READ_TOO, **_SCALARS, **eta}.items():
        if key in pairs:
            values[name] = _read(_FIELDS[name].kind, key, pairs[key])
    values["rng"] = _one_of(pairs, "RNG", _RNG, "GPU")
    levels = {"Default": False, _ZERO_TERMINAL: True}
    values["zero_terminal_snr"] = _one_of(pairs, _LEVELS, levels, "Default")
    if _RESIZED in pairs:
        size = _SIZE.fullmatch(pairs[_RESIZED])
        if size is None:
            raise BadRequest(f"infotext {_RESIZED}", pairs[_RESIZED], "WIDTHxHEIGHT in pixels")
        for name, side in zip(("seed_resize_from_w", "seed_resize_from_h"), size.groups(), strict=True):
            values[name] = _read(_FIELDS[name].kind, _RESIZED, side)
    return A1111(**values)


def pairs_of(part: A1111, schedule: str, *samplers: str) -> dict[str, Any]:
    """Return what an infotext says of ``part``, with the words of AUTOMATIC1111 where it has any.

    ``schedule`` is the first pass's schedule type, ``samplers`` are those of the passes: what none of them takes is
    left out. None stands for a key without a value.
    """
    taken = {name for sampler in samplers for name in rule_of(sampler).takes}
    changed = {
        name: getattr(part, name)
        for name, each in _FIELDS.items()
        if getattr(part, name) != each.default and (name in taken or name not in _TAKEN)
    }
    pairs: dict[str, Any] = {key: changed.get(name) for key, name in _SCALARS.items()}
    if part.subseed_strength:
        pairs["Variation seed"] = part.subseed
    if part.refiner:
        pairs["Refiner switch at"] = part.refiner_switch_at
    if schedule == "beta":
        pairs |= {key: getattr(part, name) for key, name in _BETA.items()}
    eta = next((key for sampler in samplers if (key := _eta_key(sampler)) is not None), _ETA)
    resized = f"{part.seed_resize_from_w}x{part.seed_resize_from_h}"
    return {
        "RNG": part.rng.upper(),
        **pairs,
        eta: changed.get("eta"),
        _LEVELS: _ZERO_TERMINAL if part.zero_terminal_snr else None,
        _RESIZED: resized if part.seed_resize_from_w and part.seed_resize_from_h else None,
        PICTURES: "a1111",
    }


def _eta_key(sampler: str) -> str | None:
    """Return the key of the eta that a sampler takes; None: it takes none."""
    rule = rule_of(sampler)
    if "eta" not in rule.takes:
        return None
    return _ETA_DDIM if rule.levels == "timesteps" else _ETA


def _one_of(pairs: Mapping[str, str], key: str, known: Mapping[str, Any], default: str) -> Any:
    label = pairs.get(key, default)
    if label not in known:
        raise BadRequest(f"infotext {key}", label, f"one of {', '.join(known)}")
    return known[label]


def _read(kind: Kind, key: str, text: str) -> Any:
    place = f"infotext {key}"
    with within(place):
        value = foreign_value(kind, text)
    return kind.check(place, value)
