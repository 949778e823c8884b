"""Rows for the classes that combine and confine conditioning."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, Row, output, row
from engine.formats.comfyui.table.templates import Always, Choice, Made, made
from engine.parameters import OneOf
from engine.workflow import conditioning as nodes

_HUNDREDTHS = {"step": 0.01}
_THOUSANDTHS = {"step": 0.001}
_STRENGTH = Other("strength", hints=_HUNDREDTHS)
_BOUNDS = Other(
    "set_cond_area",
    kind=OneOf(("default", "mask bounds")),
    default="default",
    help="whether the network sees the rectangle around the mask alone",
)


def _conditioning(class_type: str, display_name: str, description: str, template: Made, *inputs: str | Other) -> Row:
    """A row whose one output is conditioning."""
    category = "advanced/conditioning" if template.node in (nodes.ZeroConditioning, nodes.WithRange) else "conditioning"
    outputs = (output("CONDITIONING", template),)
    return row(class_type, display_name, category, description, inputs=inputs, outputs=outputs)


def _area(class_type: str, display_name: str, description: str, node: type, hints: dict[str, float]) -> Row:
    names = ("width", "height", "x", "y")
    template = made(node, conditioning="conditioning", strength="strength", **{name: name for name in names})
    rectangle = [Other(name, hints=hints) for name in names]
    return _conditioning(class_type, display_name, description, template, "conditioning", *rectangle, _STRENGTH)


ROWS = (
    _conditioning(
        "ConditioningCombine",
        "Conditioning (Combine)",
        "Predicts for both, and takes the mean of the predictions.",
        made(nodes.CombineConditioning, first="conditioning_1", second="conditioning_2"),
        *("conditioning_1", "conditioning_2"),
    ),
    _conditioning(
        "ConditioningConcat",
        "Conditioning (Concat)",
        "Puts the tokens of the second prompt behind those of the first.",
        made(nodes.ConcatenateConditioning, first="conditioning_to", second="conditioning_from"),
        *("conditioning_to", "conditioning_from"),
    ),
    _conditioning(
        "ConditioningAverage",
        "ConditioningAverage",
        "Mixes the tokens of two prompts.",
        made(
            nodes.AverageConditioning,
            conditioning="conditioning_to",
            other="conditioning_from",
            share="conditioning_to_strength",
        ),
        *("conditioning_to", "conditioning_from", Other("conditioning_to_strength", hints=_HUNDREDTHS)),
    ),
    _conditioning(
        "ConditioningZeroOut",
        "ConditioningZeroOut",
        "Puts zeros in place of the prompt's features.",
        made(nodes.ZeroConditioning, conditioning="conditioning"),
        "conditioning",
    ),
    _area("ConditioningSetArea", "Conditioning (Set Area)", "Confines a prompt to a rectangle.", nodes.WithArea, {}),
    _area(
        "ConditioningSetAreaPercentage",
        "Conditioning (Set Area with Percentage)",
        "Confines a prompt to a rectangle, in shares of the picture's sides.",
        nodes.WithAreaShares,
        _HUNDREDTHS,
    ),
    _conditioning(
        "ConditioningSetAreaStrength",
        "ConditioningSetAreaStrength",
        "Sets how much a prompt weighs against others.",
        made(nodes.WithStrength, conditioning="conditioning", strength="strength"),
        *("conditioning", _STRENGTH),
    ),
    _conditioning(
        "ConditioningSetMask",
        "Conditioning (Set Mask)",
        "Lets a prompt weigh as a mask says.",
        made(
            nodes.WithMask,
            conditioning="conditioning",
            mask="mask",
            strength="strength",
            bounds=Choice("set_cond_area", {"default": Always(False), "mask bounds": Always(True)}),
        ),
        *("conditioning", "mask", _STRENGTH, _BOUNDS),
    ),
    _conditioning(
        "ConditioningSetTimestepRange",
        "ConditioningSetTimestepRange",
        "Confines a prompt to a range of the sampling.",
        made(nodes.WithRange, conditioning="conditioning", start="start", end="end"),
        *("conditioning", Other("start", hints=_THOUSANDTHS), Other("end", hints=_THOUSANDTHS)),
    ),
)
