"""The table of AUTOMATIC1111's samplers: what each of them is there, where that is not what ComfyUI has.

Needs no torch, so that names can be read at no cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from engine.sampling.samplers.table import SAMPLERS, sampler_named

AUTOMATIC = "automatic"
"""The schedule type that depends on the sampler."""


@dataclass(frozen=True, kw_only=True)
class SamplerRule:
    """How AUTOMATIC1111 samples with one sampler."""

    name: str
    """The record of ``engine.sampling.samplers.table`` that does it."""

    label: str
    """AUTOMATIC1111's label."""

    schedule: str = "uniform"
    """The schedule type that ``automatic`` is."""

    takes: tuple[str, ...] = ()
    """The options that it is given from those that callers may set."""

    discards_penultimate: bool = False
    """Whether its schedule is made for one step more, and lacks the last but one level."""

    levels: str = "schedule"
    """What it goes through: a ``schedule``, ``timesteps``, or the levels that UniPC (``uni_pc``) chooses itself."""

    whole: bool = False
    """Whether it goes from the model's largest level to its smallest wherever the schedule begins, and takes ``n``."""

    eta: float = 1.0
    """The eta that it has where a caller sets none."""

    guidance: float = 1.0
    """What the guidance scale is multiplied by."""

    consistency: bool = False
    """Whether it reads any model as a consistency model."""


_NOISE = ("eta", "s_noise")
_CHURN = ("s_churn", "s_tmin", "s_tmax", "s_noise")

_RULES = {
    "euler": SamplerRule(name="euler_churn", label="Euler", takes=_CHURN),
    "euler_ancestral": SamplerRule(name="euler_ancestral", label="Euler a", takes=("eta",)),
    "heun": SamplerRule(name="heun_churn", label="Heun", takes=_CHURN),
    "dpm_2": SamplerRule(name="dpm_2_churn", label="DPM2", schedule="karras", takes=_CHURN, discards_penultimate=True),
    "dpm_2_ancestral": SamplerRule(
        name="dpm_2_ancestral", label="DPM2 a", schedule="karras", takes=_NOISE, discards_penultimate=True
    ),
    "lms": SamplerRule(name="lms_to_end", label="LMS"),
    "dpm_fast": SamplerRule(name="dpm_fast_ancestral", label="DPM fast", takes=_NOISE, whole=True),
    "dpm_adaptive": SamplerRule(name="dpm_adaptive_ancestral", label="DPM adaptive", takes=("eta",), whole=True),
    "dpmpp_2s_ancestral": SamplerRule(name="dpmpp_2s_ancestral", label="DPM++ 2S a", schedule="karras", takes=_NOISE),
    "dpmpp_sde": SamplerRule(name="dpmpp_sde", label="DPM++ SDE", schedule="karras", takes=_NOISE),
    "dpmpp_2m": SamplerRule(name="dpmpp_2m", label="DPM++ 2M", schedule="karras"),
    "dpmpp_2m_sde": SamplerRule(name="dpmpp_2m_sde", label="DPM++ 2M SDE", schedule="exponential", takes=_NOISE),
    "dpmpp_2m_sde_heun": SamplerRule(
        name="dpmpp_2m_sde_heun", label="DPM++ 2M SDE Heun", schedule="exponential", takes=_NOISE
    ),
    "dpmpp_3m_sde": SamplerRule(
        name="dpmpp_3m_sde", label="DPM++ 3M SDE", schedule="exponential", takes=_NOISE, discards_penultimate=True
    ),
    "lcm": SamplerRule(name="lcm", label="LCM", consistency=True),
    "ddim": SamplerRule(name="ddim_timesteps", label="DDIM", takes=("eta",), eta=0.0, levels="timesteps"),
    "uni_pc": SamplerRule(name="uni_pc_timesteps", label="UniPC", levels="uni_pc"),
}

_OWN = {
    "restart": SamplerRule(name="restart", label="Restart", schedule="karras"),
    "plms": SamplerRule(name="plms", label="PLMS", levels="timesteps"),
    "ddim_cfg_pp": SamplerRule(
        name="ddim_cfg_pp", label="DDIM CFG++", takes=("eta",), eta=0.0, levels="timesteps", guidance=1 / 12.5
    ),
}

OWN_SAMPLERS = tuple(_OWN)
"""The samplers that only AUTOMATIC1111 has."""

SAMPLER_RULES: Mapping[str, SamplerRule] = MappingProxyType({**_RULES, **_OWN})
"""The rules of its samplers, by ComfyUI's names, and by ours for ``OWN_SAMPLERS``."""


def rule_of(sampler: str) -> SamplerRule:
    """Return the rule of a sampler; one that AUTOMATIC1111 does not have is taken as it is."""
    if sampler in SAMPLER_RULES:
        return SAMPLER_RULES[sampler]
    record = SAMPLERS[sampler]
    return SamplerRule(name=sampler, label=record.label, discards_penultimate=record.discards_penultimate)


def evaluations_of(sampler: str) -> int:
    """Return the evaluations of a step, but the last."""
    return sampler_named(rule_of(sampler).name).evaluations
