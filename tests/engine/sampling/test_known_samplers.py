"""Each sampler against another implementation of it, on a model of four numbers."""

from __future__ import annotations

import pytest

from tests.samplers import KNOWN_LEVELS, KNOWN_START, NAMES, run, two_bumps, unit_bump

KNOWN_ENDS = {  # by k-diffusion 0.1.1.post1; those it does not have, by separate transcriptions of their definitions
    "euler": (-0.786163, -0.249486, 0.355407, 0.935126),
    "euler_ancestral": (-1.022210, -0.859115, -0.044077, 1.008666),
    "heun": (-1.053144, -0.442177, 0.576087, 1.226072),
    "heunpp2": (-0.821326, -0.271636, 0.383352, 0.971156),
    "dpm_2": (-1.006171, -0.414725, 0.537041, 1.170052),
    "dpm_2_ancestral": (-1.429661, -1.560776, -0.951177, 1.357225),
    "lms": (-0.883834, -0.309054, 0.432549, 1.031744),
    "dpm_fast": (-1.062219, -0.353670, 0.502743, 1.246529),
    "dpm_adaptive": (-1.022589, -0.384026, 0.510559, 1.190542),
    "dpmpp_2s_ancestral": (-1.155868, -1.069462, -0.558248, 1.123135),
    "dpmpp_sde": (-0.584843, -0.468110, 0.435882, 0.603449),
    "dpmpp_2m": (-1.035794, -0.388783, 0.536458, 1.193564),
    "dpmpp_2m_sde": (-0.957934, -0.938087, 0.503668, 0.950502),
    "dpmpp_2m_sde_heun": (-1.094045, -1.103228, 0.621474, 1.080819),
    "dpmpp_3m_sde": (-0.900637, -1.164735, 0.747792, 0.881780),
    "ddpm": (-1.022210, -0.859115, -0.044077, 1.008666),
    "lcm": (-1.014842, -0.692082, 0.565256, 1.022757),
    "ddim": (-0.786163, -0.249486, 0.355407, 0.935126),
    "uni_pc": (-1.293690, -0.562537, 0.753647, 1.447769),
    "uni_pc_bh2": (-1.153811, -0.470835, 0.636042, 1.312242),
    "ipndm": (-0.971761, -0.439194, 0.585840, 1.094408),
    "ipndm_v": (-0.967733, -0.377673, 0.517610, 1.110245),
    "deis": (-0.948716, -0.355087, 0.489554, 1.097774),
    "res_multistep": (-1.091322, -0.421130, 0.578071, 1.251270),
    "euler_cfg_pp": (-0.912859, -0.326177, 0.454548, 1.054035),
    "euler_ancestral_cfg_pp": (-1.053683, -0.896005, -0.114444, 1.039570),
    "dpmpp_2s_ancestral_cfg_pp": (-1.190844, -1.081459, -0.623542, 1.164659),
    "dpmpp_2m_cfg_pp": (-1.341123, -0.549236, 0.743670, 1.498124),
    "res_multistep_cfg_pp": (-0.896021, -0.245123, 0.355233, 1.121183),
    "res_multistep_ancestral": (-1.754662, -1.271757, -0.164098, 1.760410),
    "res_multistep_ancestral_cfg_pp": (-1.484738, -0.959228, 0.421972, 1.464004),
    "gradient_estimation": (-1.048901, -0.437321, 0.590477, 1.193804),
    "gradient_estimation_cfg_pp": (-1.029541, -0.372483, 0.514406, 1.206163),
    "er_sde": (-0.972643, -1.068637, -0.723919, 1.000424),
    "seeds_2": (0.399254, 0.474842, 0.216244, -0.331013),
    "seeds_3": (-0.495738, -0.662387, -0.335889, 0.476713),
    "sa_solver": (-0.154767, -1.293655, -1.304476, -0.188463),
    "sa_solver_pece": (-0.364647, -1.277925, -1.258474, 0.030428),
}


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_an_independent_implementation(name: str) -> None:
    end = run(name, two_bumps, KNOWN_START, KNOWN_LEVELS, unconditional=unit_bump)
    assert end.flatten().tolist() == pytest.approx(KNOWN_ENDS[name.removesuffix("_gpu")], abs=3e-6)
