"""AUTOMATIC1111's and Forge's names for samplers and schedulers ⇄ this project's.

Knows where the same name means other sigmas; knows no infotext and no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.errors import BadRequest
from engine.sampling.samplers import SAMPLERS
from engine.sampling.schedulers import SCHEDULERS

SAMPLER_LABELS: Mapping[str, str] = {name: record.label for name, record in SAMPLERS.items()}
"""Our sampler → its label: AUTOMATIC1111's, else Forge's, else one in their style.

"DPM++ 3M SDE" drops the last sigma but one there, and does not here.
"""

SCHEDULER_LABELS: Mapping[str, str] = {name: record.label for name, record in SCHEDULERS.items()}
"""Our scheduler → its label: AUTOMATIC1111's, else our own name in its style.

Two of the names mean other sigmas there: its "Beta" spreads sigma by the beta distribution where ComfyUI and we spread
the timestep, and its "KL Optimal" has one interval more and does not end at 0. The others agree up to rounding.
"""

_SCHEDULER_NAMES: Mapping[str, str] = {
    **{name: name for name in SCHEDULER_LABELS},
    **{label.casefold(): name for name, label in SCHEDULER_LABELS.items()},
    "uniform": "normal",  # linspace(999, 0, steps) over Stable Diffusion 1's timesteps: both mean the same
    "sgmuniform": "sgm_uniform",
}
_AUTOMATIC: Mapping[str, str] = {
    "dpm_2": "karras",
    "dpm_2_ancestral": "karras",
    "dpmpp_2s_ancestral": "karras",
    "dpmpp_sde": "karras",
    "dpmpp_2m": "karras",
    "dpmpp_2m_sde": "exponential",
    "dpmpp_2m_sde_heun": "exponential",
    "dpmpp_3m_sde": "exponential",
}
OWN_TIMESTEPS: Mapping[str, str] = {"ddim": "ddim_uniform", "uni_pc": "normal"}
"""The samplers that ignore the schedule type there, and our scheduler with their timesteps."""

LATENT_UPSCALERS: Mapping[str, str] = {
    "bilinear": "Latent",
    "bicubic": "Latent (bicubic)",
    "nearest": "Latent (nearest)",
    "nearest-exact": "Latent (nearest-exact)",
    "bislerp": "Latent (bislerp)",
    "area": "Latent (area)",
    "bilinear-antialiased": "Latent (antialiased)",
    "bicubic-antialiased": "Latent (bicubic antialiased)",
}
"""How latents are scaled → AUTOMATIC1111's label, or one in its style."""

UPSCALER_FILES: Mapping[str, str] = {
    "R-ESRGAN 4x+": "RealESRGAN_x4plus",
    "R-ESRGAN 4x+ Anime6B": "RealESRGAN_x4plus_anime_6B",
    "R-ESRGAN 2x+": "RealESRGAN_x2plus",
}
"""Its labels for upscale models that differ from the names of their files."""

_ALIASES: Mapping[str, str] = {
    "k_euler": "euler",
    "k_euler_a": "euler_ancestral",
    "k_euler_ancestral": "euler_ancestral",
    "k_heun": "heun",
    "k_lms": "lms",
    "k_dpm_2": "dpm_2",
    "k_dpm_2_a": "dpm_2_ancestral",
    "k_dpm_fast": "dpm_fast",
    "k_dpm_ad": "dpm_adaptive",
    "k_dpmpp_2s_a": "dpmpp_2s_ancestral",
    "k_dpmpp_sde": "dpmpp_sde",
    "k_dpmpp_2m": "dpmpp_2m",
    "k_dpmpp_2m_sde": "dpmpp_2m_sde",
    "k_dpmpp_2m_sde_heun": "dpmpp_2m_sde_heun",
    "k_dpmpp_3m_sde": "dpmpp_3m_sde",
    "unipc": "uni_pc",
}
_SAMPLER_NAMES: Mapping[str, str] = {
    **{name: name for name in SAMPLER_LABELS},
    **{label.casefold(): name for name, label in SAMPLER_LABELS.items()},
    **_ALIASES,
    **{f"{alias}_ka": name for alias, name in _ALIASES.items() if alias.startswith("k_")},
}


def sampler_from_label(label: object) -> tuple[str, str | None]:
    """Our sampler, and the scheduler if the label names one, as the older "DPM++ 2M Karras" does.

    Takes labels and API names of AUTOMATIC1111 and our own names, in any case.
    Raises ``BadRequest`` on ``sampler`` for a label that is not known.
    """
    key = label.strip().casefold() if isinstance(label, str) else ""
    if key in _SAMPLER_NAMES:
        return _SAMPLER_NAMES[key], "karras" if key.endswith("_ka") else None
    for suffix, scheduler in _SCHEDULER_NAMES.items():
        sampler = _SAMPLER_NAMES.get(key.removesuffix(f" {suffix}"))
        if sampler is not None:
            return sampler, scheduler
    raise BadRequest("sampler", label, f"one of {', '.join(SAMPLER_LABELS.values())}")


def scheduler_from_label(label: object, sampler: str) -> str:
    """Our scheduler for a label or API name of AUTOMATIC1111, or our own name, in any case.

    "Automatic", there the default, depends on the sampler: see ``automatic_scheduler``. "Uniform" is our normal: for
    Stable Diffusion 1 both take evenly spaced timesteps from 999 to 0.
    Raises ``BadRequest`` on ``scheduler`` for a label that is not known.
    """
    key = label.strip().casefold() if isinstance(label, str) else ""
    if key == "automatic":
        return automatic_scheduler(sampler)
    if key not in _SCHEDULER_NAMES:
        raise BadRequest("scheduler", label, f"one of Automatic, Uniform, {', '.join(SCHEDULER_LABELS.values())}")
    return _SCHEDULER_NAMES[key]


def automatic_scheduler(sampler: str) -> str:
    """What AUTOMATIC1111's "Automatic" is for our ``sampler``.

    Karras or exponential for the samplers that prefer them there, the samplers' own timesteps for DDIM and UniPC, else
    "Uniform". ComfyUI's ``_gpu`` samplers, which that program does not have, go with those of the same name without it.
    """
    return {**_AUTOMATIC, **OWN_TIMESTEPS}.get(sampler.removesuffix("_gpu"), "normal")
