"""The units of AUTOMATIC1111's ControlNet extension (``alwayson_scripts.controlnet.args``) → nodes.

What would change the picture and is not carried out is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.workflow.controls import ControlFile, Controlled
from engine.workflow.masks import ChannelMask
from engine.workflow.pictures import Pictures
from engine.workflow.preprocessing import Hollowed
from engine.workflow.text import Conditioning
from server.backends.checkpoints import FileInfo
from server.dialects.sdapi.files import file_named, stem
from server.dialects.sdapi.img2img import Canvas
from server.dialects.sdapi.modules import INPAINT, MODULES, NONE, Settings, Slider, module_named
from server.dialects.sdapi.passes import Pass
from server.dialects.sdapi.pictures import CROP, FILL, STRETCH, Sized, picture_of
from server.dialects.sdapi.refusing import CONTROLNET, is_nothing
from server.inputs.input import Input
from server.problems import bad_request, unsupported

_RESIZE_MODES: Mapping[object, int] = {
    **dict.fromkeys((0, "0", "Just Resize", "Resize", "ResizeMode.RESIZE"), STRETCH),
    **dict.fromkeys((1, "1", "Crop and Resize", "Scale to Fit (Inner Fit)", "Inner Fit"), CROP),
    **dict.fromkeys((2, "2", "Resize and Fill", "Envelope (Outer Fit)", "Outer Fit"), FILL),
}
_MODE_LABELS = ("Just Resize", "Crop and Resize", "Resize and Fill")
_BALANCED, _PROMPT, _CONTROL = ("Balanced", "My prompt is more important", "ControlNet is more important")
_CONTROL_MODES: Mapping[object, str] = {
    **dict.fromkeys((0, "0", _BALANCED, "ControlMode.BALANCED"), _BALANCED),
    **dict.fromkeys((1, "1", _PROMPT, "ControlMode.PROMPT"), _PROMPT),
    **dict.fromkeys((2, "2", _CONTROL, "ControlMode.CONTROL"), _CONTROL),
}
_THRESHOLDS = ("threshold_a", "threshold_b")
_BOTH, _LOW, _HIGH = "Both", "Low res only", "High res only"
_IGNORED = {
    "image", "input_image", "low_vram", "lowvram", "pixel_perfect", "save_detected_map", "is_ui", "input_mode",
    "batch_images", "output_dir", "loopback", "use_preview_as_input", "inpaint_crop_input_image", "hr_option",
    "enabled", "module", "model", "weight", "resize_mode", "processor_res", "threshold_a", "threshold_b",
    "guidance_start", "guidance_end", "guidance", "control_mode", "batch_image_dir", "union_control_type",
    "pulid_mode", "batch_mask_gallery", "batch_input_gallery", "generated_image", "mask_image_fg", "advanced_weighting",
}  # fmt: skip
_RESOLUTION = 512
_LEAST_RESOLUTION = 64


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One network, the picture that it follows, and how."""

    place: str
    """Where the caller wrote it."""
    model: str
    """The name of its file."""
    module: str
    image: Input | None
    """None: the picture that is painted over."""
    mask: Input | None
    """Where ``image`` has a hole, for the module that makes one."""
    weight: float
    start: float
    end: float
    resize_mode: int
    resolution: int
    """The shorter side, in pixels, of what the module makes; 0: what fits the picture that is made."""
    low: float
    high: float
    """``threshold_a`` and ``threshold_b``; 0 where the module has none."""
    passes: str
    control_mode: str
    """Unless it is balanced, the network steers fine layers less; where it is more important, the prompt alone and not
    the negative one."""

    def steers(self, *, second: bool, only_pass: bool) -> bool:
        """Return whether it steers the first pass, or the second one."""
        return only_pass or self.passes == _BOTH or self.passes == (_HIGH if second else _LOW)

    def steered(self, made: Pass, picture: Sized, canvas: Canvas | None, width: int, height: int) -> Pass:
        """Return ``made``, of ``width`` × ``height``, steered by what the module makes of ``picture``.

        Where only a part of a canvas is painted, that part of the picture counts.
        """
        if canvas is not None and canvas.box is not None:
            box, whole = canvas.box, canvas.original
            picture = picture.scaled(whole.width, whole.height).part(box.x, box.y, box.width, box.height)
        prepared = MODULES[self.module].make(picture, self._settings(picture, width, height))
        pictures: Pictures = prepared.fitted(width, height, self.resize_mode).pictures
        if self.mask is not None:
            hole = picture_of(self.mask).scaled(picture.width, picture.height).fitted(width, height, self.resize_mode)
            pictures = Hollowed(pictures=pictures, mask=ChannelMask(pictures=hole.pictures, channel="red"))
        network = ControlFile(name=self.model)

        def steer(prompt: Conditioning) -> Conditioning:
            return Controlled(
                conditioning=prompt,
                network=network,
                pictures=pictures,
                strength=self.weight,
                start=self.start,
                end=self.end,
                softly=self.control_mode != _BALANCED,
            )

        return made.steered(steer, negative=self.control_mode != _CONTROL)

    def _settings(self, picture: Sized, width: int, height: int) -> Settings:
        """Return the module's settings for a picture that is brought to ``width`` × ``height``."""
        factors = width / picture.width, height / picture.height
        factor = min(factors) if self.resize_mode == FILL else max(factors)
        fitting = round(factor * min(picture.width, picture.height))
        return Settings(resolution=self.resolution or max(_LEAST_RESOLUTION, fitting), a=self.low, b=self.high)


def units_in(scripts: Mapping[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
    """Return the units that are on, each with its place in the call. Raises ``Problem`` for what is no unit."""
    for script, settings in (scripts or {}).items():
        if script.casefold() == CONTROLNET:
            arguments = settings.get("args") if isinstance(settings, dict) else settings
            place = f"alwayson_scripts.{script}.args"
            if not isinstance(arguments, list | None):
                raise bad_request(place, arguments, "a list of units")
            listed = [(f"{place}[{number}]", unit) for number, unit in enumerate(arguments or [])]
            return [(at, _unit(at, unit)) for at, unit in listed if not is_nothing(unit) and _is_on(unit)]
    return []


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A picture of a unit as the caller sent it."""

    text: str | None
    """None where there is none."""
    field: str
    """Its place in the call."""


def picture_in(unit: Mapping[str, Any], place: str) -> Sent:
    """Return the picture of a unit. Raises ``Problem`` for what is none."""
    field = "image" if unit.get("image") else "input_image"
    image = unit.get(field)
    if isinstance(image, dict):
        image, field = image.get("image"), f"{field}.image"
    return _sent(image, f"{place}.{field}")


def mask_in(unit: Mapping[str, Any], place: str) -> Sent:
    """Return the mask of a unit. Raises ``Problem`` for one that its module does not take, and for a lacking one."""
    image = unit.get("image") or unit.get("input_image")
    masks = {"image.mask": image.get("mask")} if isinstance(image, dict) else {}
    masks |= {name: unit.get(name) for name in ("mask", "mask_image", "effective_region_mask")}
    given = {name: mask for name, mask in masks.items() if not is_nothing(mask)}
    wanted = module_named(unit.get("module") or NONE) == INPAINT
    for name, mask in given.items():
        if not wanted or name == "effective_region_mask":
            raise unsupported(f"{place}.{name}", mask, f"no mask, but with the module {MODULES[INPAINT].label}")
    if wanted and (not given or image is None):
        raise bad_request(f"{place}.{'mask' if image else 'image'}", None, "a picture, for this module")
    field, mask = next(iter(given.items()), ("mask", None))
    return _sent(mask, f"{place}.{field}")


def unit_of(
    unit: Mapping[str, Any], place: str, image: Input | None, files: Sequence[FileInfo], mask: Input | None = None
) -> Unit:
    """Return a unit with its pictures. Raises ``Problem`` that names the field for what is not supported."""
    for name, value in unit.items():
        if name not in _IGNORED and not name.startswith(("mask", "effective_region")) and not is_nothing(value):
            raise unsupported(f"{place}.{name}"[:100], value, "no value")
    control_mode = unit.get("control_mode", _BALANCED)
    if isinstance(control_mode, dict | list) or control_mode not in _CONTROL_MODES:
        raise bad_request(f"{place}.control_mode", control_mode, f"one of {_BALANCED}, {_PROMPT}, {_CONTROL}")
    mode = unit.get("resize_mode", 1)
    if isinstance(mode, dict | list) or mode not in _RESIZE_MODES:
        raise bad_request(f"{place}.resize_mode", mode, f"one of {', '.join(_MODE_LABELS)}")
    passes = unit.get("hr_option") or _BOTH
    if passes not in (_BOTH, _LOW, _HIGH):
        raise bad_request(f"{place}.hr_option", passes, f"one of {_BOTH}, {_LOW}, {_HIGH}")
    module = _module(unit.get("module") or NONE, f"{place}.module")
    sliders = (*MODULES[module].sliders, None, None)
    low, high = (_slid(unit, name, slider, place) for name, slider in zip(_THRESHOLDS, sliders, strict=False))
    return Unit(
        place=place,
        model=file_named(unit.get("model"), files, f"{place}.model"),
        module=module,
        image=image,
        mask=mask,
        weight=_number(unit, "weight", 1, place, 0, 10),
        start=_number(unit, "guidance_start", 0, place, 0, 1),
        end=_number(unit, "guidance_end", unit.get("guidance", 1), place, 0, 1),
        resize_mode=_RESIZE_MODES[mode],
        resolution=_resolution(unit, place),
        low=low,
        high=high,
        passes=passes,
        control_mode=_CONTROL_MODES[control_mode],
    )


def notes_of_units(units: Sequence[Unit]) -> dict[str, str]:
    """Return what an infotext says of units."""
    notes = {}
    for number, unit in enumerate(units):
        said = {
            "Module": unit.module,
            "Model": stem(unit.model),
            "Weight": f"{unit.weight:g}",
            "Resize Mode": _MODE_LABELS[unit.resize_mode],
            "Processor Res": unit.resolution,
            "Threshold A": f"{unit.low:g}",
            "Threshold B": f"{unit.high:g}",
            "Guidance Start": f"{unit.start:g}",
            "Guidance End": f"{unit.end:g}",
            "Pixel Perfect": unit.resolution == 0,
            "Control Mode": unit.control_mode,
        }
        notes[f"ControlNet {number}"] = ", ".join(f"{key}: {value}" for key, value in said.items())
    return notes


def _unit(place: str, unit: object) -> dict[str, Any]:
    if not isinstance(unit, dict):
        raise bad_request(place, unit, "an object with a unit's fields")
    return unit


def _is_on(unit: object) -> bool:
    return not isinstance(unit, dict) or unit.get("enabled", True) not in (False, None, 0)


def _module(name: object, place: str) -> str:
    module = module_named(name)
    if module is None:
        labels = ", ".join(each.label or name for name, each in MODULES.items())
        raise unsupported(place, name, f"one of {labels}, or a picture that is prepared already, with none")
    return module


def _sent(picture: object, field: str) -> Sent:
    if picture is not None and not isinstance(picture, str):
        raise bad_request(field, picture, "a picture's file in base64, also as a data: URL")
    return Sent(text=picture or None, field=field)


def _resolution(unit: Mapping[str, Any], place: str) -> int:
    """Return a unit's resolution, 0 for one that fits. One that is too small stands for the default."""
    resolution = int(_number(unit, "processor_res", _RESOLUTION, place, -1, 4096))
    if unit.get("pixel_perfect"):
        return 0
    return resolution if resolution >= _LEAST_RESOLUTION else _RESOLUTION


def _slid(unit: Mapping[str, Any], name: str, slider: Slider | None, place: str) -> float:
    """Return what a slider is at: its default where the unit says nothing or less than 0."""
    value = _number(unit, name, -1, place, -math.inf, math.inf)
    if slider is None:
        return 0.0
    return slider.default if value < 0 else _number(unit, name, slider.default, place, slider.least, slider.most)


def _number(unit: Mapping[str, Any], name: str, default: float, place: str, low: float, high: float) -> float:
    value = unit.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise bad_request(f"{place}.{name}", value, f"a number from {low} to {high}")
    return float(value)
