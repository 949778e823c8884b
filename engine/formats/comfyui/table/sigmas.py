"""Rows for the classes that make schedules, and cut them."""

from __future__ import annotations

from typing import Any

from engine.formats.comfyui.table.rows import Other, Row, output, row
from engine.formats.comfyui.table.templates import Always, Made, made
from engine.workflow import sampling as nodes

_SCHEDULERS = "sampling/custom_sampling/schedulers"
_SIGMAS = "sampling/custom_sampling/sigmas"
_DENOISE = Other("denoise", hints={"step": 0.01})


def _schedule(class_type: str, description: str, node: Any, *inputs: str | Other) -> Row:
    """A row whose inputs are named as the node's fields."""
    names = [each.name if isinstance(each, Other) else each for each in inputs]
    template = made(node, **{name: name for name in names})
    return row(class_type, class_type, _SCHEDULERS, description, inputs=inputs, outputs=(output("SIGMAS", template),))


def _fine(*names: str) -> tuple[Other, ...]:
    """Numbers for which the editor offers steps of a hundredth and keeps all digits."""
    return tuple(Other(name, hints={"step": 0.01, "round": False}) for name in names)


def _halves(node: Any, **fields: str) -> tuple[Made, Made]:
    return made(node, part=Always("high"), **fields), made(node, part=Always("low"), **fields)


def _split(
    class_type: str, description: str, halves: tuple[Made, Made], *inputs: str | Other, ours: bool = False
) -> Row:
    outputs = tuple(output("SIGMAS", half, f"{half.fields['part'].make({})}_sigmas") for half in halves)
    return row(class_type, class_type, _SIGMAS, description, inputs=inputs, outputs=outputs, ours=ours)


ROWS = (
    _schedule(
        "BasicScheduler",
        "Makes the levels of a schedule.",
        nodes.BasicSigmas,
        "model",
        "scheduler",
        "steps",
        _DENOISE,
    ),
    _schedule(
        "KarrasScheduler",
        "Makes levels as Karras et al. 2022.",
        nodes.KarrasSigmas,
        "steps",
        *_fine("sigma_max", "sigma_min", "rho"),
    ),
    _schedule(
        "ExponentialScheduler",
        "Makes levels whose logarithms fall evenly.",
        nodes.ExponentialSigmas,
        "steps",
        *_fine("sigma_max", "sigma_min"),
    ),
    _schedule(
        "PolyexponentialScheduler",
        "Makes levels whose logarithms fall as a power of an even ramp.",
        nodes.PolyexponentialSigmas,
        "steps",
        *_fine("sigma_max", "sigma_min", "rho"),
    ),
    _schedule(
        "LaplaceScheduler",
        "Makes levels at the quantiles of a Laplace distribution; the last is not 0.",
        nodes.LaplaceSigmas,
        "steps",
        *_fine("sigma_max", "sigma_min", "mu", "beta"),
    ),
    _schedule(
        "VPScheduler",
        "Makes the levels of the continuous variance-preserving process.",
        nodes.VpSigmas,
        "steps",
        *_fine("beta_d", "beta_min", "eps_s"),
    ),
    _schedule(
        "SDTurboScheduler",
        "Makes the levels of distilled models.",
        nodes.TurboSigmas,
        "model",
        "steps",
        _DENOISE,
    ),
    _schedule(
        "BetaSamplingScheduler",
        "Makes levels at the quantiles of a beta distribution.",
        nodes.BetaSigmas,
        "model",
        "steps",
        *_fine("alpha", "beta"),
    ),
    _schedule(
        "AlignYourStepsScheduler",
        "Makes the levels that Align Your Steps found for a kind of model.",
        nodes.AlignYourStepsSigmas,
        "model_type",
        "steps",
        _DENOISE,
    ),
    _split(
        "SplitSigmas",
        "Cuts a schedule at a step.",
        _halves(nodes.SplitSigmas, sigmas="sigmas", step="step"),
        *("sigmas", "step"),
    ),
    _split(
        "SplitSigmasDenoise",
        "Cuts a schedule so that the second part has a share of the steps.",
        _halves(nodes.SplitSigmasDenoise, sigmas="sigmas", denoise="denoise"),
        *("sigmas", _DENOISE),
    ),
    _split(
        "SplitSigmasAtShare",
        "Cuts a schedule where a share of the model's timesteps is done.",
        _halves(nodes.SplitSigmasAtShare, sigmas="sigmas", model="model", share="share"),
        "sigmas",
        "model",
        *_fine("share"),
        ours=True,
    ),
    row(
        "FlipSigmas",
        "FlipSigmas",
        _SIGMAS,
        "Turns a schedule around.",
        inputs=("sigmas",),
        outputs=(output("SIGMAS", made(nodes.FlipSigmas, sigmas="sigmas")),),
    ),
    row(
        "SetFirstSigma",
        "SetFirstSigma",
        _SIGMAS,
        "Replaces the first level of a schedule.",
        inputs=("sigmas", Other("sigma", hints={"step": 0.001, "round": False})),
        outputs=(output("SIGMAS", made(nodes.FirstSigma, sigmas="sigmas", sigma="sigma")),),
    ),
    row(
        "KSamplerScheduler",
        "KSamplerScheduler",
        _SCHEDULERS,
        "Makes the levels that KSampler gives a sampler.",
        inputs=("model", "sampler_name", "scheduler", "steps", _DENOISE),
        outputs=(
            output(
                "SIGMAS",
                made(
                    nodes.ScheduledSigmas,
                    model="model",
                    sampler="sampler_name",
                    scheduler="scheduler",
                    steps="steps",
                    denoise="denoise",
                ),
            ),
        ),
        ours=True,
    ),
    row(
        "CutSigmas",
        "CutSigmas",
        _SIGMAS,
        "Takes the steps of a schedule that KSamplerAdvanced would run.",
        inputs=("sigmas", "start_at_step", "end_at_step", "leftover_noise"),
        outputs=(
            output(
                "SIGMAS",
                made(
                    nodes.CutSigmas,
                    sigmas="sigmas",
                    start="start_at_step",
                    end="end_at_step",
                    leftover_noise="leftover_noise",
                ),
            ),
        ),
        ours=True,
    ),
)
