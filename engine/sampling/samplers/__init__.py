"""The samplers, as generators: given x, sigmas and a noise source, they say what to evaluate next (``protocol.py``).

Twenty lines each, after the paper named in the docstring. They know no model, no device, no request and no one else.
"""

from __future__ import annotations

from engine.sampling.samplers import discrete, dpm_solver, dpm_solver_pp, multistep, runge_kutta, uni_pc
from engine.sampling.samplers.protocol import AdaptiveSampling, Sampler, Sampling, Scalar

SAMPLERS: dict[str, Sampler] = {
    "euler": runge_kutta.euler,
    "euler_ancestral": runge_kutta.euler_ancestral,
    "heun": runge_kutta.heun,
    "heunpp2": runge_kutta.heunpp2,
    "dpm_2": runge_kutta.dpm_2,
    "dpm_2_ancestral": runge_kutta.dpm_2_ancestral,
    "lms": multistep.lms,
    "dpm_fast": dpm_solver.dpm_fast,
    "dpm_adaptive": dpm_solver.dpm_adaptive,
    "dpmpp_2s_ancestral": dpm_solver_pp.dpmpp_2s_ancestral,
    "dpmpp_sde": dpm_solver_pp.dpmpp_sde,
    "dpmpp_2m": dpm_solver_pp.dpmpp_2m,
    "dpmpp_2m_sde": dpm_solver_pp.dpmpp_2m_sde,
    "dpmpp_2m_sde_heun": dpm_solver_pp.dpmpp_2m_sde_heun,
    "dpmpp_3m_sde": dpm_solver_pp.dpmpp_3m_sde,
    "ddpm": discrete.ddpm,
    "lcm": discrete.lcm,
    "ddim": runge_kutta.euler,
    "uni_pc": uni_pc.uni_pc,
    "uni_pc_bh2": uni_pc.uni_pc_bh2,
    "ipndm": multistep.ipndm,
    "ipndm_v": multistep.ipndm_v,
    "deis": multistep.deis,
    "res_multistep": multistep.res_multistep,
}
"""By ComfyUI's names. ``ddim`` is ``euler``."""

__all__ = ["SAMPLERS", "AdaptiveSampling", "Sampler", "Sampling", "Scalar"]
