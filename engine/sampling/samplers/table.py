"""The table of samplers: one record for each of ComfyUI's names, and for some that it does not have.

Needs no torch, so that the command line and the checks of a request can read the names at no cost. A new sampler is
a function in a module of this package and a record here.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from engine.errors import BadRequest

if TYPE_CHECKING:
    from engine.sampling.samplers.protocol import Sampler

Option: TypeAlias = float | int | str
"""The value of a sampler's option."""

_Options: TypeAlias = Mapping[str, Option]


@dataclass(frozen=True, kw_only=True)
class SamplerRecord:
    """What the engine and the formats know about one sampler."""

    name: str
    """ComfyUI's name."""

    label: str
    """AUTOMATIC1111's label, else Forge's, else one in their style."""

    path: str
    """Where the function is: module below ``engine.sampling.samplers`` and name, such as ``runge_kutta.euler``."""

    options: Mapping[str, Option] = field(default_factory=dict, hash=False)
    """The keyword arguments that the function takes from a caller, with this sampler's defaults."""

    discards_penultimate: bool = False
    """Whether KSampler gives it a schedule of one step more without the last but one sigma."""

    divides_by_step: bool = False
    """Whether it has no finite answer where two neighbouring sigmas are equal."""

    evaluations: int = 1
    """Evaluations of a step, but the last; of an adaptive sampler as many as others have."""

    own_steps: bool = False
    """Whether it makes its own steps between the ends of the sigmas, down to the last one above 0."""

    adaptive: bool = False
    """Whether its number of evaluations is only known once it has finished."""

    needs_unconditional: bool = False
    """Whether it is sent the pair (denoised, unconditional denoised) instead of denoised, at cfg_scale 1 too."""

    needs_levels: bool = False
    """Whether the function takes the model's ``levels`` (``NoiseLevels``) as a keyword argument."""

    device_path: bool = False
    """Whether ComfyUI draws the numbers of its Brownian path on the device that samples, rather than on the CPU."""

    draws_unused: bool = False
    """Whether ComfyUI draws as much noise as x at each step without using it, from the generator of the start noise."""

    redraws_masked_noise: bool = False
    """Whether the noise around an inpainting mask is drawn anew, from ``seed + 1``, instead of the initial noise."""

    @cached_property
    def function(self) -> Sampler:
        """The sampler with this record's options; keyword arguments in the call replace them."""
        module, name = self.path.rsplit(".", 1)
        function = getattr(importlib.import_module(f"engine.sampling.samplers.{module}"), name)
        return cast("Sampler", functools.partial(function, **self.options) if self.options else function)

    def configured(self, options: Mapping[str, Option]) -> Sampler:
        """The sampler with ``options`` in place of its defaults. Raises ``BadRequest`` for an unknown option."""
        for name, value in options.items():
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise BadRequest(name, value, f"an option of the sampler {self.name}: {known}")
        return cast("Sampler", functools.partial(self.function, **options) if options else self.function)


def _record(name: str, label: str, path: str, options: _Options | None = None, **facts: Any) -> SamplerRecord:
    return SamplerRecord(name=name, label=label, path=path, options=MappingProxyType(dict(options or {})), **facts)


_NOISE: _Options = {"eta": 1.0, "s_noise": 1.0}
_NO_NOISE: _Options = {"eta": 0.0, "s_noise": 1.0}
_SDE: _Options = {**_NOISE, "r": 0.5}
_MIDPOINT: _Options = {**_NOISE, "solver_type": "midpoint"}
_HEUN: _Options = {**_NOISE, "solver_type": "heun"}
_PID: _Options = {"h_init": 0.05, "pcoeff": 0.0, "icoeff": 1.0, "dcoeff": 0.0, "accept_safety": 0.81}
_ADAPTIVE: _Options = {"order": 3, "rtol": 0.05, "atol": 0.0078, **_PID, **_NO_NOISE}
_ER_SDE: _Options = {"solver_type": "ER-SDE", "max_stage": 3, **_NOISE}
_SEEDS_3: _Options = {**_NOISE, "r_1": 1 / 3, "r_2": 2 / 3}
_STOCHASTIC: _Options = {**_NOISE, "sde_start_percent": 0.2, "sde_end_percent": 0.8}
_SA_SOLVER: _Options = {**_STOCHASTIC, "predictor_order": 3, "corrector_order": 4, "use_pece": False}
_SA_SOLVER_PECE: _Options = {**_SA_SOLVER, "use_pece": True}

_RECORDS = (
    _record("euler", "Euler", "runge_kutta.euler"),
    _record("euler_cfg_pp", "Euler CFG++", "cfg_pp.euler_cfg_pp", needs_unconditional=True),
    _record("euler_ancestral", "Euler a", "runge_kutta.euler_ancestral", _NOISE),
    _record(
        "euler_ancestral_cfg_pp", "Euler a CFG++", "cfg_pp.euler_ancestral_cfg_pp", _NOISE, needs_unconditional=True
    ),
    _record("heun", "Heun", "runge_kutta.heun", evaluations=2, draws_unused=True),
    _record("heunpp2", "HeunPP2", "runge_kutta.heunpp2", evaluations=3, draws_unused=True),
    _record("dpm_2", "DPM2", "runge_kutta.dpm_2", evaluations=2, discards_penultimate=True, draws_unused=True),
    _record(
        "dpm_2_ancestral", "DPM2 a", "runge_kutta.dpm_2_ancestral", _NOISE, evaluations=2, discards_penultimate=True
    ),
    _record("lms", "LMS", "multistep.lms", {"order": 4}, divides_by_step=True),
    _record("dpm_fast", "DPM fast", "dpm_solver.dpm_fast", own_steps=True),
    _record("dpm_adaptive", "DPM adaptive", "dpm_solver.dpm_adaptive", _ADAPTIVE, own_steps=True, adaptive=True),
    _record("dpmpp_2s_ancestral", "DPM++ 2S a", "dpm_solver_pp.dpmpp_2s_ancestral", _NOISE, evaluations=2),
    _record(
        "dpmpp_2s_ancestral_cfg_pp",
        "DPM++ 2S a CFG++",
        "cfg_pp.dpmpp_2s_ancestral_cfg_pp",
        _NOISE,
        evaluations=2,
        needs_unconditional=True,
    ),
    _record("dpmpp_sde", "DPM++ SDE", "dpm_solver_pp.dpmpp_sde", _SDE, evaluations=2, divides_by_step=True),
    _record(
        "dpmpp_sde_gpu",
        "DPM++ SDE GPU",
        "dpm_solver_pp.dpmpp_sde",
        _SDE,
        evaluations=2,
        divides_by_step=True,
        device_path=True,
    ),
    _record("dpmpp_2m", "DPM++ 2M", "dpm_solver_pp.dpmpp_2m", divides_by_step=True),
    _record(
        "dpmpp_2m_cfg_pp", "DPM++ 2M CFG++", "cfg_pp.dpmpp_2m_cfg_pp", divides_by_step=True, needs_unconditional=True
    ),
    _record("dpmpp_2m_sde", "DPM++ 2M SDE", "dpm_solver_pp.dpmpp_2m_sde", _MIDPOINT, divides_by_step=True),
    _record(
        "dpmpp_2m_sde_gpu",
        "DPM++ 2M SDE GPU",
        "dpm_solver_pp.dpmpp_2m_sde",
        _MIDPOINT,
        divides_by_step=True,
        device_path=True,
    ),
    _record("dpmpp_2m_sde_heun", "DPM++ 2M SDE Heun", "dpm_solver_pp.dpmpp_2m_sde", _HEUN, divides_by_step=True),
    _record(
        "dpmpp_2m_sde_heun_gpu",
        "DPM++ 2M SDE Heun GPU",
        "dpm_solver_pp.dpmpp_2m_sde",
        _HEUN,
        divides_by_step=True,
        device_path=True,
    ),
    _record("dpmpp_3m_sde", "DPM++ 3M SDE", "dpm_solver_pp.dpmpp_3m_sde", _NOISE, divides_by_step=True),
    _record(
        "dpmpp_3m_sde_gpu",
        "DPM++ 3M SDE GPU",
        "dpm_solver_pp.dpmpp_3m_sde",
        _NOISE,
        divides_by_step=True,
        device_path=True,
    ),
    _record("ddpm", "DDPM", "discrete.ddpm"),
    _record("lcm", "LCM", "discrete.lcm"),
    _record("ipndm", "IPNDM", "multistep.ipndm"),
    _record("ipndm_v", "IPNDM_V", "multistep.ipndm_v", divides_by_step=True),
    _record("deis", "DEIS", "multistep.deis", divides_by_step=True),
    _record("res_multistep", "Res Multistep", "res_multistep.res_multistep", _NO_NOISE, divides_by_step=True),
    _record(
        "res_multistep_cfg_pp",
        "Res Multistep CFG++",
        "res_multistep.res_multistep_cfg_pp",
        _NO_NOISE,
        divides_by_step=True,
        needs_unconditional=True,
    ),
    _record("res_multistep_ancestral", "Res Multistep a", "res_multistep.res_multistep", _NOISE, divides_by_step=True),
    _record(
        "res_multistep_ancestral_cfg_pp",
        "Res Multistep a CFG++",
        "res_multistep.res_multistep_cfg_pp",
        _NOISE,
        divides_by_step=True,
        needs_unconditional=True,
    ),
    _record("gradient_estimation", "Gradient Estimation", "gradient_estimation.gradient_estimation", {"gamma": 2.0}),
    _record(
        "gradient_estimation_cfg_pp",
        "Gradient Estimation CFG++",
        "gradient_estimation.gradient_estimation_cfg_pp",
        {"gamma": 2.0},
        needs_unconditional=True,
    ),
    _record("er_sde", "ER SDE", "er_sde.er_sde", _ER_SDE, divides_by_step=True),
    _record("seeds_2", "SEEDS 2", "seeds.seeds_2", _SDE, evaluations=2),
    _record("seeds_3", "SEEDS 3", "seeds.seeds_3", _SEEDS_3, evaluations=3, divides_by_step=True),
    _record("sa_solver", "SA Solver", "sa_solver.sa_solver", _SA_SOLVER, divides_by_step=True, needs_levels=True),
    _record(
        "sa_solver_pece",
        "SA Solver PECE",
        "sa_solver.sa_solver",
        _SA_SOLVER_PECE,
        evaluations=2,
        divides_by_step=True,
        needs_levels=True,
    ),
    _record("ddim", "DDIM", "runge_kutta.euler", redraws_masked_noise=True),
    _record("uni_pc", "UniPC", "uni_pc.uni_pc", discards_penultimate=True, divides_by_step=True),
    _record("uni_pc_bh2", "uni_pc_bh2", "uni_pc.uni_pc_bh2", discards_penultimate=True, divides_by_step=True),
)

SAMPLERS: Mapping[str, SamplerRecord] = MappingProxyType({record.name: record for record in _RECORDS})
"""The records by name, in ComfyUI's order."""

_ETA: _Options = {"eta": 0.0}
_CHURN: _Options = {"s_churn": 0.0, "s_tmin": 0.0, "s_tmax": math.inf, "s_noise": 1.0}

_FURTHER = (
    _record("euler_churn", "Euler with churn", "churn.euler", _CHURN),
    _record("heun_churn", "Heun with churn", "churn.heun", _CHURN, evaluations=2),
    _record("dpm_2_churn", "DPM2 with churn", "churn.dpm_2", _CHURN, evaluations=2),
    _record("lms_to_end", "LMS", "multistep.lms_to_end", {"order": 4}, divides_by_step=True),
    _record(
        "dpm_fast_ancestral",
        "DPM fast",
        "dpm_solver.dpm_fast_ancestral",
        {**_NOISE, "n": 0, "whole": 0},
        own_steps=True,
        needs_levels=True,
    ),
    _record(
        "dpm_adaptive_ancestral",
        "DPM adaptive",
        "dpm_solver.dpm_adaptive",
        {**_ADAPTIVE, **_NOISE, "whole": 0, "anew": 1},
        own_steps=True,
        adaptive=True,
        needs_levels=True,
    ),
    _record("restart", "Restart", "restart.restart", {"s_noise": 1.0}, evaluations=2),
    _record("ddim_timesteps", "DDIM", "timesteps.ddim", _ETA),
    _record("ddim_cfg_pp", "DDIM CFG++", "timesteps.ddim_cfg_pp", _ETA, needs_unconditional=True),
    _record("plms", "PLMS", "timesteps.plms"),
    _record(
        "uni_pc_timesteps",
        "UniPC",
        "uni_pc.uni_pc_timesteps",
        {"variant": "bh1", "order": 3, "lower_order_final": 1},
        divides_by_step=True,
    ),
)

FURTHER_SAMPLERS: Mapping[str, SamplerRecord] = MappingProxyType({record.name: record for record in _FURTHER})
"""Those that ComfyUI does not have, or not in this form, by name."""

_ALL = {**SAMPLERS, **FURTHER_SAMPLERS}


def sampler_named(name: str) -> SamplerRecord:
    """Return the record of either table."""
    return _ALL[name]
