"""Rows for the classes of ControlNets and T2I-adapters."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, output, row
from engine.formats.comfyui.table.templates import Always, Made, made
from engine.workflow.controls import ControlFile, ControlFileForModel, Controlled

_STRENGTH = Other("strength", hints={"step": 0.01})
_PERCENTS = tuple(Other(name, hints={"step": 0.001}) for name in ("start_percent", "end_percent"))


def _controlled(conditioning: str, **fixed: Always) -> Made:
    """A prompt that is steered; ``fixed`` are the values of the node that a class always has."""
    return made(
        Controlled,
        conditioning=conditioning,
        network="control_net",
        pictures="image",
        strength="strength",
        start="start_percent",
        end="end_percent",
        **fixed,
    )


ROWS = (
    row(
        "ControlNetLoader",
        "Load ControlNet Model",
        "loaders",
        "Loads a ControlNet or T2I-adapter.",
        inputs=("control_net_name",),
        outputs=(output("CONTROL_NET", made(ControlFile, name="control_net_name")),),
    ),
    row(
        "DiffControlNetLoader",
        "Load ControlNet Model (diff)",
        "loaders",
        "Loads a ControlNet that holds what is to be added to a model's weights, or any other.",
        inputs=("model", "control_net_name"),
        outputs=(output("CONTROL_NET", made(ControlFileForModel, model="model", name="control_net_name")),),
    ),
    row(
        "ControlNetApply",
        "Apply ControlNet (OLD)",
        "conditioning/controlnet",
        "Steers a prompt, and the guider's other prompts, by a picture.",
        inputs=(
            *("conditioning", "control_net", "image"),
            _STRENGTH,
            Other("start_percent", ours=True),
            Other("end_percent", ours=True),
        ),
        outputs=(output("CONDITIONING", _controlled("conditioning", shared=Always(True))),),
    ),
    row(
        "ControlNetApplyAdvanced",
        "Apply ControlNet",
        "conditioning/controlnet",
        "Steers two prompts by a picture, for a range of the sampling.",
        inputs=(
            Other("positive", like="negative"),
            Other("negative", like="positive"),
            "control_net",
            "image",
            _STRENGTH,
            *_PERCENTS,
            Other("vae", type="VAE", optional=True, help="ignored: networks for other models than 1.x need it"),
        ),
        outputs=(
            output("CONDITIONING", _controlled("positive"), "positive"),
            output("CONDITIONING", _controlled("negative"), "negative"),
        ),
    ),
    row(
        "ControlNetApplySoft",
        "Apply ControlNet (soft)",
        "conditioning/controlnet",
        "Steers a prompt by a picture, in fine layers less, for a range of the sampling.",
        inputs=("conditioning", "control_net", "image", _STRENGTH, *_PERCENTS),
        outputs=(output("CONDITIONING", _controlled("conditioning", softly=Always(True))),),
        ours=True,
    ),
)
