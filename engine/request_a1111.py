"""What a request has beside its other parameters where it asks for AUTOMATIC1111's picture.

The names are those of that program's settings and of its API. ``engine.workflow.a1111_sampling`` says what they do.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.parameters import Flag, Name, Number, OneOf, Optional, Seed, WholeNumber, check_fields, parameter
from engine.sampling.a1111.samplers import AUTOMATIC, OWN_SAMPLERS
from engine.sampling.a1111.schedules import SCHEDULES
from engine.workflow.a1111 import FACTOR, SHAPE, SIGMA
from engine.workflow.a1111_second import KERNELS
from engine.workflow.latents import MAX_SIDE

_SIDE = WholeNumber(0, MAX_SIDE)

UNI_PC_SKIPS = {"time_uniform": "uniform", "time_quadratic": "quadratic", "logSNR": "log_snr"}
"""What UniPC spaces evenly: AUTOMATIC1111's word → ours."""


@dataclass(frozen=True, kw_only=True)
class A1111:
    """That the picture is AUTOMATIC1111's, and what decides it there beside a request's other parameters.

    Raises ``BadRequest`` for a value out of range.
    """

    sampler: str | None = parameter(
        None, Optional(OneOf(OWN_SAMPLERS)), "a sampler that only AUTOMATIC1111 has; none: the request's"
    )
    schedule: str | None = parameter(
        None,
        Optional(OneOf((AUTOMATIC, *SCHEDULES))),
        "schedule type, automatic for the sampler's own; none: as the request's scheduler says",
    )
    rng: str = parameter("nv", OneOf(("nv", "cpu")), "whose generator noise is that of: a GPU's, or a CPU's")
    ensd: int = parameter(
        0, WholeNumber(0, 2**53), "eta noise seed delta, added to the seed for the noise of the steps"
    )
    subseed: int = parameter(0, Seed(optional=False), "variation seed")
    subseed_strength: float = parameter(0.0, Number(0, 1), "how far the noise is turned to the variation seed's")
    seed_resize_from_w: int = parameter(0, _SIDE, "width in pixels of the picture that the seed once made; 0: this one")
    seed_resize_from_h: int = parameter(0, _SIDE, "height in pixels of the same")
    eta: float | None = parameter(None, Optional(FACTOR), "noise at the steps; none: 1, and 0 for DDIM")
    s_churn: float = parameter(0.0, FACTOR, "noise that Euler, Heun and DPM2 add before a step")
    s_tmin: float = parameter(0.0, SIGMA, "the smallest level at which they add it")
    s_tmax: float = parameter(0.0, SIGMA, "the largest; 0: any")
    s_noise: float = parameter(1.0, FACTOR, "a factor of the noise at the steps")
    sigma_min: float = parameter(0.0, SIGMA, "the schedule's last level above 0; 0: the model's")
    sigma_max: float = parameter(0.0, SIGMA, "the schedule's first level; 0: the model's")
    rho: float = parameter(0.0, Number(0, 100), "the power of karras and polyexponential; 0: 7 and 1")
    beta_dist_alpha: float = parameter(0.6, SHAPE, "the beta schedule's first shape")
    beta_dist_beta: float = parameter(0.6, SHAPE, "its second shape")
    always_discard_next_to_last_sigma: bool = parameter(False, Flag(), "whether every schedule lacks its last but one")
    sgm_noise_multiplier: bool = parameter(False, Flag(), "whether it begins with √(1 + sigma²) of noise, not sigma")
    enable_quantization: bool = parameter(False, Flag(), "whether timesteps are whole numbers")
    use_downcasted_alpha_bar: bool = parameter(False, Flag(), "whether noise levels are computed in half precision")
    zero_terminal_snr: bool = parameter(False, Flag(), "whether nothing of the picture is left at the last timestep")
    initial_noise_multiplier: float = parameter(1.0, FACTOR, "a factor of the start noise where there is an image")
    img2img_extra_noise: float = parameter(0.0, FACTOR, "how much of it is added to the image, or to a first pass")
    img2img_fix_steps: bool = parameter(False, Flag(), "whether all steps are run where there is an image")
    inpainting_mask_weight: float = parameter(
        1.0, Number(0, 1), "how much less of its masked part an inpainting checkpoint sees of the image"
    )
    overlay_inpaint: bool = parameter(True, Flag(), "whether the image is laid over what a mask keeps of it")
    s_min_uncond: float = parameter(0.0, SIGMA, "the level below which every second evaluation has no negative prompt")
    s_min_uncond_all: bool = parameter(False, Flag(), "whether that is so in every evaluation")
    skip_early_cond: float = parameter(0.0, Number(0, 1), "the first share of the evaluations without negative prompt")
    uni_pc_variant: str = parameter("bh1", OneOf(("bh1", "bh2", "vary_coeff")), "which form of UniPC")
    uni_pc_skip_type: str = parameter("time_uniform", OneOf(tuple(UNI_PC_SKIPS)), "what UniPC spaces evenly")
    uni_pc_order: int = parameter(3, WholeNumber(1, 50), "its order; at most the number of its steps")
    hires_sampler: str | None = parameter(
        None, Optional(OneOf(OWN_SAMPLERS)), "a sampler of the second pass that only AUTOMATIC1111 has; none: as hires"
    )
    hires_schedule: str | None = parameter(
        None, Optional(OneOf((AUTOMATIC, *SCHEDULES))), "schedule type of the second pass; none: as hires"
    )
    hires_kernel: str | None = parameter(
        None, Optional(OneOf(KERNELS)), "how the decoded picture is scaled for the second pass; none: as hires says"
    )
    uni_pc_lower_order_final: bool = parameter(True, Flag(), "whether its last steps are of lower orders")
    pad_cond_uncond: bool = parameter(
        False, Flag(), "whether an empty prompt is put behind the shorter of prompt and negative prompt"
    )
    pad_cond_uncond_v0: bool = parameter(
        False, Flag(), "whether the negative prompt's last token is repeated instead, or its end cut off"
    )
    refiner: str | None = parameter(
        None,
        Name("the name or path of a checkpoint"),
        "the checkpoint that ends the sampling, of a second pass where there is one; none: the request's",
    )
    refiner_switch_at: float = parameter(0.8, Number(0, 1), "the share of the timesteps that lie before it takes over")
    refiner_switch_by_sample_steps: bool = parameter(
        False, Flag(), "whether it is a share of the evaluations instead, as before version 1.8.0"
    )

    def __post_init__(self) -> None:
        check_fields(self)
