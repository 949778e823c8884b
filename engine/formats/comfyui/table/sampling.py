"""Rows for the classes that sample. All of them make the node ``Sample``: they differ in what it is made of."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, output, row
from engine.formats.comfyui.table.templates import Always, Choice, Made, Template, made
from engine.parameters import Flag, OneOf
from engine.workflow import sampling as nodes

_CFG = Other("cfg", hints={"step": 0.1, "round": 0.01})
_DENOISE = Other("denoise", hints={"step": 0.01})
_STEP_NOISE = Other("step_noise", ours=True)
_OWN_NOISE = (Other("start_noise", ours=True), _STEP_NOISE)
_SWITCH = OneOf(("enable", "disable"))


def _schedule(denoise: Template | str) -> Made:
    return made(
        nodes.ScheduledSigmas,
        steps="steps",
        model="model",
        sampler="sampler_name",
        scheduler="scheduler",
        denoise=denoise,
    )


def _random(seed: str, **more: str) -> Made:
    return made(nodes.RandomNoise, seed=seed, start_noise="start_noise", step_noise="step_noise", **more)


def _none(seed: Template | str) -> Made:
    return made(nodes.NoNoise, seed=seed, step_noise="step_noise")


def _noise(enabled: object, disabled: object) -> Choice:
    return Choice("add_noise", {enabled: _random("noise_seed"), disabled: _none("noise_seed")})


def _sample(sigmas: Template | str, noise: Template | str, *, sampler: Template | str, guider: Template | str) -> Made:
    return made(nodes.Sample, guider=guider, sampler=sampler, sigmas=sigmas, noise=noise, latents="latent_image")


_GUIDER = made(nodes.CfgGuider, model="model", positive="positive", negative="negative", cfg_scale="cfg")
_SAMPLER = made(nodes.Sampler, name="sampler_name")
_PART = made(
    nodes.CutSigmas,
    sigmas=_schedule(Always(1.0)),
    start="start_at_step",
    end="end_at_step",
    leftover_noise=Choice("return_with_leftover_noise", {"disable": Always(False), "enable": Always(True)}),
)
_CUSTOM = _sample("sigmas", _noise(True, False), sampler="sampler", guider=_GUIDER)
_ADVANCED = _sample("sigmas", "noise", sampler="sampler", guider="guider")


ROWS = (
    row(
        "KSampler",
        "KSampler",
        "sampling",
        "Samples latents.",
        inputs=(
            *("model", "seed", "steps", _CFG, "sampler_name", "scheduler"),
            *("positive", "negative", "latent_image", _DENOISE, *_OWN_NOISE),
        ),
        outputs=(
            output(
                "LATENT",
                _sample(_schedule("denoise"), _random("seed"), sampler=_SAMPLER, guider=_GUIDER),
            ),
        ),
    ),
    row(
        "KSamplerAdvanced",
        "KSampler (Advanced)",
        "sampling",
        "Samples latents over some of the steps of a schedule.",
        inputs=(
            *("model", Other("add_noise", kind=_SWITCH, default="enable", help="whether it begins from noise")),
            *("noise_seed", "steps", _CFG, "sampler_name", "scheduler", "positive", "negative", "latent_image"),
            *("start_at_step", "end_at_step"),
            Other(
                "return_with_leftover_noise",
                kind=OneOf(("disable", "enable")),
                default="disable",
                help="whether it ends at the last step's level rather than at 0",
            ),
            *_OWN_NOISE,
        ),
        outputs=(output("LATENT", _sample(_PART, _noise("enable", "disable"), sampler=_SAMPLER, guider=_GUIDER)),),
    ),
    row(
        "SamplerCustom",
        "SamplerCustom",
        "sampling/custom_sampling",
        "Samples latents with a sampler and sigmas of one's choice.",
        inputs=(
            *("model", Other("add_noise", kind=Flag(), default=True, help="whether it begins from noise")),
            *("noise_seed", _CFG, "positive", "negative", "sampler", "sigmas", "latent_image", *_OWN_NOISE),
        ),
        outputs=(
            output("LATENT", _CUSTOM, "output"),
            output("LATENT", made(nodes.LastDenoised, sample=_CUSTOM), "denoised_output"),
        ),
    ),
    row(
        "SamplerCustomAdvanced",
        "SamplerCustomAdvanced",
        "sampling/custom_sampling",
        "Samples latents with noise, a guider, a sampler and sigmas of one's choice.",
        inputs=("noise", "guider", "sampler", "sigmas", "latent_image"),
        outputs=(
            output("LATENT", _ADVANCED, "output"),
            output("LATENT", made(nodes.LastDenoised, sample=_ADVANCED), "denoised_output"),
        ),
    ),
    row(
        "NoiseLatents",
        "Noise as Latents",
        "latent",
        "Takes the noise that a sampling would begin from as latents.",
        inputs=("noise", "samples"),
        outputs=(output("LATENT", made(nodes.NoiseLatents, noise="noise", latents="samples")),),
        ours=True,
    ),
    row(
        "RandomNoise",
        "RandomNoise",
        "sampling/custom_sampling/noise",
        "Draws noise from a seed.",
        inputs=("noise_seed", *_OWN_NOISE, Other("factor", ours=True)),
        outputs=(output("NOISE", _random("noise_seed", factor="factor")),),
    ),
    row(
        "DisableNoise",
        "DisableNoise",
        "sampling/custom_sampling/noise",
        "Begins without noise; samplers that draw noise at their steps draw it from seed 0.",
        inputs=(_STEP_NOISE,),
        outputs=(output("NOISE", _none(Always(0))),),
    ),
    row(
        "DisableNoiseWithSeed",
        "DisableNoise with a seed",
        "sampling/custom_sampling/noise",
        "Begins without noise; samplers that draw noise at their steps draw it from the seed.",
        inputs=("noise_seed", _STEP_NOISE),
        outputs=(output("NOISE", _none("noise_seed")),),
        ours=True,
    ),
    row(
        "BasicGuider",
        "BasicGuider",
        "sampling/custom_sampling/guiders",
        "Follows one prompt alone.",
        inputs=("model", "conditioning"),
        outputs=(output("GUIDER", made(nodes.BasicGuider, model="model", positive="conditioning")),),
    ),
    row(
        "CFGGuider",
        "CFGGuider",
        "sampling/custom_sampling/guiders",
        "Guides by a positive and a negative prompt.",
        inputs=("model", "positive", "negative", _CFG),
        outputs=(output("GUIDER", _GUIDER),),
    ),
    row(
        "DualCFGGuider",
        "DualCFGGuider",
        "sampling/custom_sampling/guiders",
        "Guides by two prompts and a negative one.",
        inputs=(
            *("model", "cond1", "cond2", "negative"),
            Other("cfg_conds", hints=_CFG.hints),
            Other("cfg_cond2_negative", hints=_CFG.hints),
            Other("style", lenient=True),
        ),
        outputs=(
            output(
                "GUIDER",
                made(
                    nodes.DualCfgGuider,
                    model="model",
                    positive="cond1",
                    middle="cond2",
                    negative="negative",
                    cfg_scale="cfg_conds",
                    middle_scale="cfg_cond2_negative",
                    style="style",
                ),
            ),
        ),
    ),
    row(
        "PerpNegGuider",
        "PerpNegGuider",
        "_for_testing",
        "Lets the negative prompt push only across the positive one.",
        inputs=(
            *("model", "positive", "negative", "empty_conditioning", _CFG),
            Other("neg_scale", hints={"step": 0.01}),
        ),
        outputs=(
            output(
                "GUIDER",
                made(
                    nodes.PerpNegGuider,
                    model="model",
                    positive="positive",
                    negative="negative",
                    empty="empty_conditioning",
                    cfg_scale="cfg",
                    negative_scale="neg_scale",
                ),
            ),
        ),
    ),
)
