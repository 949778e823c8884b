"""The units of AUTOMATIC1111's ControlNet extension (``alwayson_scripts.controlnet.args``) → nodes.

``MODULES`` lists the modules that are carried out: they need no network of their own. Everything else that would change
the picture is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.workflow.controls import ControlFile, Controlled
from engine.workflow.editing import InvertPictures, MaskPictures
from engine.workflow.masks import BrightnessMask, ThresholdMask
from engine.workflow.preprocessing import Edges
from engine.workflow.text import Conditioning
from server.backends.checkpoints import FileInfo
from server.dialects.sdapi.files import file_named, stem
from server.dialects.sdapi.img2img import Canvas
from server.dialects.sdapi.passes import Pass
from server.dialects.sdapi.pictures import CROP, FILL, STRETCH, Sized
from server.dialects.sdapi.refusing import CONTROLNET, is_nothing
from server.inputs.input import Input
from server.problems import bad_request, unsupported

MODULES: Mapping[str, str] = {
    "none": "none",
    "canny": "canny",
    "invert": "invert (from white bg & black line)",
    "threshold": "threshold",
    "tile_resample": "tile_resample",
}
"""The modules that are carried out → the longer names that the extension also has for them."""

_RESIZE_MODES: Mapping[object, int] = {
    **dict.fromkeys((0, "0", "Just Resize", "Resize", "ResizeMode.RESIZE"), STRETCH),
    **dict.fromkeys((1, "1", "Crop and Resize", "Scale to Fit (Inner Fit)", "Inner Fit"), CROP),
    **dict.fromkeys((2, "2", "Resize and Fill", "Envelope (Outer Fit)", "Outer Fit"), FILL),
}
_MODE_LABELS = ("Just Resize", "Crop and Resize", "Resize and Fill")
_BALANCED = (0, "0", "Balanced", "ControlMode.BALANCED")
_BOTH, _LOW, _HIGH = "Both", "Low res only", "High res only"
_IGNORED = {
    "image", "input_image", "low_vram", "lowvram", "pixel_perfect", "save_detected_map", "is_ui", "input_mode",
    "batch_images", "output_dir", "loopback", "use_preview_as_input", "inpaint_crop_input_image", "hr_option",
    "enabled", "module", "model", "weight", "resize_mode", "processor_res", "threshold_a", "threshold_b",
    "guidance_start", "guidance_end", "guidance", "control_mode", "batch_image_dir", "union_control_type",
    "pulid_mode", "batch_mask_gallery", "batch_input_gallery", "generated_image", "mask_image_fg", "advanced_weighting",
}  # fmt: skip
_LEAST_THRESHOLD, _MOST_THRESHOLD = 0.01, 0.99


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
    weight: float
    start: float
    end: float
    resize_mode: int
    resolution: int
    """The shorter side, in pixels, that a module's picture gets first; 0: as it is."""
    low: float
    high: float
    passes: str

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
        pictures = self._prepared(picture).fitted(width, height, self.resize_mode).pictures
        network = ControlFile(name=self.model)

        def steer(prompt: Conditioning) -> Conditioning:
            return Controlled(
                conditioning=prompt,
                network=network,
                pictures=pictures,
                strength=self.weight,
                start=self.start,
                end=self.end,
            )

        return made.steered(steer)

    def _prepared(self, picture: Sized) -> Sized:
        """Return what the module makes of a picture."""
        if self.module == "none":
            return picture
        if self.module == "invert":
            return Sized(pictures=InvertPictures(pictures=picture.pictures), width=picture.width, height=picture.height)
        if self.module == "tile_resample":
            width, height = (max(1, int(side / self.low)) for side in (picture.width, picture.height))
            return picture.scaled(width, height, "area") if self.low > 1 else picture
        shorter = min(picture.width, picture.height)
        resolution = self.resolution or shorter
        picture = picture.scaled(picture.width * resolution // shorter, picture.height * resolution // shorter)
        if self.module == "canny":
            low, high = (min(max(each / 255, _LEAST_THRESHOLD), _MOST_THRESHOLD) for each in (self.low, self.high))
            made = Edges(pictures=picture.pictures, low_threshold=low, high_threshold=high)
            return Sized(pictures=made, width=picture.width, height=picture.height)
        bright = ThresholdMask(mask=BrightnessMask(pictures=picture.pictures), value=min(self.low / 255, 1.0))
        return Sized(pictures=MaskPictures(mask=bright), width=picture.width, height=picture.height)


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


def picture_in(unit: Mapping[str, Any], place: str) -> tuple[str | None, str]:
    """Return the picture of a unit as the caller sent it, if there is one, and its place. Raises ``Problem`` for one
    with a mask."""
    field = "image" if unit.get("image") else "input_image"
    image = unit.get(field)
    if isinstance(image, dict):
        _refuse_mask(image.get("mask"), f"{place}.{field}.mask")
        image, field = image.get("image"), f"{field}.image"
    for name in ("mask", "mask_image", "effective_region_mask"):
        _refuse_mask(unit.get(name), f"{place}.{name}")
    if image is not None and not isinstance(image, str):
        raise bad_request(f"{place}.{field}", image, "a picture's file in base64, also as a data: URL")
    return image or None, f"{place}.{field}"


def unit_of(unit: Mapping[str, Any], place: str, image: Input | None, files: Sequence[FileInfo]) -> Unit:
    """Return a unit with its picture. Raises ``Problem`` that names the field for what is not supported."""
    for name, value in unit.items():
        if name not in _IGNORED and not name.startswith(("mask", "effective_region")) and not is_nothing(value):
            raise unsupported(f"{place}.{name}"[:100], value, "no value")
    control_mode = unit.get("control_mode", "Balanced")
    if control_mode not in _BALANCED:
        raise unsupported(f"{place}.control_mode", control_mode, "Balanced")
    mode = unit.get("resize_mode", 1)
    if isinstance(mode, dict | list) or mode not in _RESIZE_MODES:
        raise bad_request(f"{place}.resize_mode", mode, f"one of {', '.join(_MODE_LABELS)}")
    passes = unit.get("hr_option") or _BOTH
    if passes not in (_BOTH, _LOW, _HIGH):
        raise bad_request(f"{place}.hr_option", passes, f"one of {_BOTH}, {_LOW}, {_HIGH}")
    module = _module(unit.get("module") or "none", f"{place}.module")
    resolution = _number(unit, "processor_res", 512, place, -1, 4096)
    low, high = (_number(unit, name, -1, place, -1, 2048) for name in ("threshold_a", "threshold_b"))
    defaults = {"canny": (100, 200), "threshold": (127, 0), "tile_resample": (1, 0)}.get(module, (0, 0))
    return Unit(
        place=place,
        model=file_named(unit.get("model"), files, f"{place}.model"),
        module=module,
        image=image,
        weight=_number(unit, "weight", 1, place, 0, 10),
        start=_number(unit, "guidance_start", 0, place, 0, 1),
        end=_number(unit, "guidance_end", unit.get("guidance", 1), place, 0, 1),
        resize_mode=_RESIZE_MODES[mode],
        resolution=0 if unit.get("pixel_perfect") else int(resolution) if resolution >= 64 else 512,
        low=defaults[0] if low < 0 else low,
        high=defaults[1] if high < 0 else high,
        passes=passes,
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
            "Control Mode": "Balanced",
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
    text = str(name).strip().casefold()
    for module, other in MODULES.items():
        if text in (module, other):
            return module
    raise unsupported(place, name, f"one of {', '.join(MODULES)}, or a picture that is prepared already, with none")


def _refuse_mask(mask: object, place: str) -> None:
    if not is_nothing(mask):
        raise unsupported(place, mask, "no mask")


def _number(unit: Mapping[str, Any], name: str, default: float, place: str, low: float, high: float) -> float:
    value = unit.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise bad_request(f"{place}.{name}", value, f"a number from {low} to {high}")
    return float(value)
