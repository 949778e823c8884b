"""AUTOMATIC1111's settings that change its pictures, and that callers may change where these are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from engine.parameters import Flag, Kind, Number, OneOf, WholeNumber, parameters_of
from engine.request_a1111 import A1111
from engine.request_parts import PromptReading


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One of them."""

    kind: Kind
    default: Any


_SAME = (
    *("s_churn", "s_tmin", "s_tmax", "s_noise", "sigma_min", "sigma_max", "rho", "beta_dist_alpha", "beta_dist_beta"),
    *("always_discard_next_to_last_sigma", "sgm_noise_multiplier", "enable_quantization", "use_downcasted_alpha_bar"),
    *("initial_noise_multiplier", "img2img_extra_noise", "img2img_fix_steps"),
    *("inpainting_mask_weight", "overlay_inpaint"),
    *("s_min_uncond", "s_min_uncond_all", "skip_early_cond"),
    *("uni_pc_variant", "uni_pc_skip_type", "uni_pc_order", "uni_pc_lower_order_final"),
    *("pad_cond_uncond", "pad_cond_uncond_v0", "refiner_switch_by_sample_steps"),
)
"""Those that have the name of a field of the request's part."""

_PART = parameters_of(A1111)

_ETA = Number(0, 100)

_READING = parameters_of(PromptReading)

EMPHASES: Mapping[str, str] = {"Original": "original", "No norm": "no_norm", "Ignore": "ignore", "None": "none"}
"""AUTOMATIC1111's name of what weights do → ours."""

READING: Mapping[str, str] = {
    "emphasis": "emphasis",
    "use_old_emphasis_implementation": "old_emphasis",
    "comma_padding_backtrack": "comma_backtrack",
    "use_old_scheduling": "old_schedules",
}
"""Settings that say how prompts are read → the fields of ``PromptReading``."""

SETTABLE: Mapping[str, Setting] = MappingProxyType(
    {
        "randn_source": Setting(kind=OneOf(("GPU", "NV", "CPU")), default="GPU"),
        "eta_noise_seed_delta": Setting(kind=WholeNumber(0, 2**53), default=0),
        "eta_ancestral": Setting(kind=_ETA, default=1.0),
        "eta_ddim": Setting(kind=_ETA, default=0.0),
        "sd_noise_schedule": Setting(kind=OneOf(("Default", "Zero Terminal SNR")), default="Default"),
        "use_old_karras_scheduler_sigmas": Setting(kind=Flag(), default=False),
        "emphasis": Setting(kind=OneOf(tuple(EMPHASES)), default="Original"),
        **{
            name: Setting(kind=_READING[field].kind, default=_READING[field].default)
            for name, field in READING.items()
            if name != "emphasis"
        },
        **{name: Setting(kind=_PART[name].kind, default=_PART[name].default) for name in _SAME},
    }
)
"""The settings by name. A GPU's noise is the one that ``NV`` computes."""


def read_setting(name: str, value: object, place: str) -> Any:
    """Return the value of a setting; null is its default. Raises ``BadRequest`` on ``place`` for one out of range."""
    setting = SETTABLE[name]
    return setting.default if value is None else setting.kind.read(place, value)
