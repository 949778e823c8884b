"""Rows for sampling as AUTOMATIC1111 samples, which no class of ComfyUI does: all of them are this engine's own."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, Row, output, row
from engine.formats.comfyui.table.templates import Pairs, made
from engine.parameters import Text
from engine.workflow import a1111 as nodes
from engine.workflow.node import Node
from engine.workflow.patches import EnlargedByTwo

_CATEGORY = "sampling/custom_sampling"


def _own(
    class_type: str, name: str, type: str, description: str, node: type[Node], *inputs: str | Other, room: str
) -> Row:
    """A row whose inputs are named as the node's fields."""
    names = [each if isinstance(each, str) else each.name for each in inputs]
    return row(
        class_type,
        name,
        room,
        description,
        inputs=inputs,
        outputs=(output(type, made(node, **{name: name for name in names})),),
        ours=True,
    )


def _fine(*names: str) -> tuple[Other, ...]:
    return tuple(Other(name, hints={"step": 0.01, "round": False}) for name in names)


ROWS = (
    _own(
        "ModelSamplingFractional",
        "Fractional timesteps",
        "MODEL",
        "Interpolates a model's timesteps between the trained ones, as AUTOMATIC1111 does.",
        nodes.FractionalReading,
        *("model", "sampling", "zsnr", "half", "rounded"),
        room="advanced/model",
    ),
    _own(
        "EnlargeByTwo",
        "Enlarge by two",
        "MODEL",
        "Enlarges by two on the way up and cuts to size then, as AUTOMATIC1111 does for sides of no whole 64 pixels.",
        EnlargedByTwo,
        "model",
        room="advanced/model",
    ),
    _own(
        "ConditioningWithRests",
        "Negative prompt that rests",
        "CONDITIONING",
        "Lets guidance do without the negative prompt at times.",
        nodes.WithRests,
        "conditioning",
        *_fine("below"),
        "alternate",
        *_fine("until"),
        "evaluations",
        room="advanced/conditioning",
    ),
    _own(
        "PaddedGuider",
        "Padded guider",
        "GUIDER",
        "Brings a guider's prompts to one number of tokens, as AUTOMATIC1111's pad_cond_uncond does.",
        nodes.PaddedGuider,
        "guider",
        Other("filler", optional=True),
        room=f"{_CATEGORY}/guiders",
    ),
    _own(
        "RefinedGuider",
        "Refined guider",
        "GUIDER",
        "Guides by one guider at first, and by another from some point of the sampling on.",
        nodes.RefinedGuider,
        *("first", "second"),
        *_fine("share"),
        "evaluations",
        room=f"{_CATEGORY}/guiders",
    ),
    _own(
        "PictureNoise",
        "Noise of each picture",
        "NOISE",
        "Draws each picture's noise from a generator of its own, as AUTOMATIC1111 does.",
        nodes.PictureNoise,
        "seed",
        "drawn_on",
        "step_delta",
        "variation_seed",
        *_fine("variation_strength"),
        "from_width",
        "from_height",
        "start",
        *_fine("factor", "extra"),
        Other("span", optional=True),
        room=f"{_CATEGORY}/noise",
    ),
    _own(
        "A1111Scheduler",
        "AUTOMATIC1111 schedule",
        "SIGMAS",
        "Makes one of AUTOMATIC1111's schedules.",
        nodes.A1111Sigmas,
        "model",
        "schedule",
        "steps",
        "discard_penultimate",
        *_fine("sigma_min", "sigma_max", "rho", "alpha", "beta"),
        room=f"{_CATEGORY}/schedulers",
    ),
    _own(
        "TimestepScheduler",
        "Schedule of timesteps",
        "SIGMAS",
        "Makes the schedule of AUTOMATIC1111's DDIM and PLMS.",
        nodes.TimestepSigmas,
        *("model", "steps"),
        room=f"{_CATEGORY}/schedulers",
    ),
    _own(
        "UniPCScheduler",
        "Schedule of UniPC",
        "SIGMAS",
        "Makes the schedule of AUTOMATIC1111's UniPC.",
        nodes.UniPcSigmas,
        *("model", "steps", "times", "run"),
        room=f"{_CATEGORY}/schedulers",
    ),
    row(
        "FurtherSampler",
        "Further sampler",
        f"{_CATEGORY}/samplers",
        "Chooses a sampler that ComfyUI does not have, with options as JSON.",
        inputs=(
            Other("name"),
            Other(
                "options", kind=Text(), default="[]", help='the options that differ from the defaults: [["eta", 0.5]]'
            ),
        ),
        outputs=(output("SAMPLER", made(nodes.FurtherSampler, name="name", options=Pairs("options"))),),
        ours=True,
    ),
)
