"""The keys of an infotext for a second pass ⇄ the parts of a request that say it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from engine.errors import BadRequest
from engine.formats.foreign import foreign_value
from engine.formats.infotext.a1111_labels import (
    a1111_label,
    a1111_sampler_from_label,
    schedule_from_label,
    written_schedule,
)
from engine.formats.infotext.labels import (
    LATENT_UPSCALERS,
    SAMPLER_LABELS,
    SCHEDULER_LABELS,
    UPSCALER_FILES,
    sampler_from_label,
    scheduler_from_label,
)
from engine.parameters import parameters_of, within
from engine.request import GenerationRequest
from engine.request_a1111 import A1111
from engine.request_parts import Hires
from engine.sampling.a1111.samplers import OWN_SAMPLERS
from engine.workflow.a1111_second import SecondSize, part_of_second

HIRES_SEED = "Hires seed"
"""Our key for the second pass's seed, where that is another."""

VALUES: Mapping[str, str] = {
    "Hires upscale": "scale",
    "Denoising strength": "denoise",
    "Hires steps": "steps",
    "Hires CFG Scale": "cfg_scale",
    "Hires prompt": "prompt",
    "Hires negative prompt": "negative_prompt",
    HIRES_SEED: "seed",
}
"""Keys → the fields of ``Hires`` that they hold."""

KERNELS: Mapping[str, str] = {"Lanczos": "lanczos", "None": "lanczos", "Nearest": "nearest-bytes"}
"""AUTOMATIC1111's upscalers without a file → how pixels are interpolated. The first label of a kernel is written."""

_RESIZE, _SAMPLER, _SCHEDULE, _UPSCALER = "Hires resize", "Hires sampler", "Hires schedule type", "Hires upscaler"
_ASKING = ("Hires upscale", _RESIZE, _UPSCALER)
_SIZE = re.compile(r"(\d{1,9})x(\d{1,9})")
_CELL = 8
_FIELDS = parameters_of(Hires)

T = TypeVar("T")


def hires_of(pairs: Mapping[str, str], sampler: str) -> Hires | None:
    """Return the second pass of a picture of ComfyUI's, whose first pass has ``sampler``; None: it has none.

    Raises ``BadRequest``, naming the key, for an upscaler that it cannot have.
    """
    if not any(key in pairs for key in _ASKING):
        return None
    values = _values(pairs)
    if _RESIZE in pairs:
        sides = dict(zip(("width", "height"), (side - side % _CELL for side in _sides(pairs)), strict=True))
        if not all(sides.values()):
            raise BadRequest(f"infotext {_RESIZE}", pairs[_RESIZE], "a width and a height, both above 0")
        values = _resized(values, sides)
    if _SAMPLER in pairs:
        values["sampler"], named = _named(sampler_from_label, _SAMPLER, pairs[_SAMPLER])
        values |= {} if named is None else {"scheduler": named}
    if _SCHEDULE in pairs:
        by = values.get("sampler", sampler)
        values["scheduler"] = _named(lambda label: scheduler_from_label(label, by), _SCHEDULE, pairs[_SCHEDULE])
    return Hires(**values, **_upscaler(pairs.get(_UPSCALER, "Latent")))


def a1111_hires_of(pairs: Mapping[str, str], width: int, height: int) -> tuple[Hires, dict[str, Any]] | None:
    """Return the second pass of a picture of AUTOMATIC1111's, and what its part ``a1111`` says of it; None: none.

    ``width`` and ``height`` are those of the first pass. Raises ``BadRequest``, naming the key, for what it cannot
    have.
    """
    if not any(key in pairs for key in _ASKING):
        return None
    values, part = _values(pairs), dict[str, Any]()
    if _RESIZE in pairs:
        values = _resized(values, _a1111_sides(pairs, width, height))
    if _SAMPLER in pairs:
        found = _named(a1111_sampler_from_label, _SAMPLER, pairs[_SAMPLER])
        if found.sampler in OWN_SAMPLERS:
            part["hires_sampler"] = found.sampler
        else:
            values["sampler"] = found.sampler
        part["hires_schedule"] = found.schedule
    if _SCHEDULE in pairs:
        part["hires_schedule"] = _named(schedule_from_label, _SCHEDULE, pairs[_SCHEDULE])
    label = pairs.get(_UPSCALER, "Latent")
    if label in KERNELS:
        return Hires(**values), {**part, "hires_kernel": KERNELS[label]}
    return Hires(**values, **_upscaler(label)), part


def pairs_of_hires(request: GenerationRequest) -> dict[str, Any]:
    """Return what an infotext says of the second pass of ``request``; None stands for a key without a value.

    Raises ``BadRequest`` for an upscaler whose name means something else in the text.
    """
    hires = request.hires
    if hires is None:
        return {}
    if hires.upscaler is not None and hires.upscaler.startswith("Latent"):
        raise BadRequest("hires.upscaler", hires.upscaler, "a name that no way to scale latents has in the text")
    values = {key: getattr(hires, name) for key, name in VALUES.items() if key != "Denoising strength"}
    scale = 2.0 if hires.scale is None else hires.scale
    upscaler = hires.upscaler or LATENT_UPSCALERS[hires.method]
    if request.a1111 is not None and request.a1111.hires_kernel is not None:
        upscaler = next(label for label, kernel in KERNELS.items() if kernel == request.a1111.hires_kernel)
    return {
        **values,
        "Hires upscale": scale if hires.width is None else None,
        _RESIZE: None if hires.width is None else f"{hires.width}x{hires.height}",
        _UPSCALER: upscaler,
        **(_sampling(hires) if request.a1111 is None else _a1111_sampling(request, request.a1111, hires)),
    }


def _sampling(hires: Hires) -> dict[str, Any]:
    return {
        _SAMPLER: None if hires.sampler is None else SAMPLER_LABELS[hires.sampler],
        _SCHEDULE: None if hires.scheduler is None else SCHEDULER_LABELS[hires.scheduler],
    }


def _a1111_sampling(request: GenerationRequest, part: A1111, hires: Hires) -> dict[str, Any]:
    """Return the sampler and the schedule type, where they are not what a reader takes from the first pass."""
    first = part.sampler or request.sampler
    changed = part_of_second(part, hires)
    second = changed.sampler or hires.sampler or request.sampler
    read = schedule_from_label(written_schedule(part.schedule or request.scheduler, first))
    schedule = written_schedule(changed.schedule or hires.scheduler or request.scheduler, second)
    return {
        _SAMPLER: None if second == first else a1111_label(second),
        _SCHEDULE: None if schedule == written_schedule(read, second) else schedule,
    }


def _values(pairs: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, name in VALUES.items():
        if key in pairs:
            with within(f"infotext {key}"):
                read = foreign_value(_FIELDS[name].kind, pairs[key])
            values[name] = _FIELDS[name].kind.check(f"infotext {key}", read)
    return values


def _resized(values: Mapping[str, Any], sides: Mapping[str, int]) -> dict[str, Any]:
    """Return ``values`` with ``sides`` in place of a scale."""
    checked = {name: _FIELDS[name].kind.check(f"infotext {_RESIZE}", side) for name, side in sides.items()}
    return {**values, **checked, "scale": None}


def _sides(pairs: Mapping[str, str]) -> tuple[int, int]:
    size = _SIZE.fullmatch(pairs[_RESIZE])
    if size is None:
        raise BadRequest(f"infotext {_RESIZE}", pairs[_RESIZE], "WIDTHxHEIGHT in pixels")
    return int(size[1]), int(size[2])


def _a1111_sides(pairs: Mapping[str, str], width: int, height: int) -> dict[str, int]:
    """Return the sides of the second pass, one of which may be 0 in the text."""
    x, y = _sides(pairs)
    if not x and not y:
        raise BadRequest(f"infotext {_RESIZE}", pairs[_RESIZE], "a width or a height above 0")
    size = SecondSize.of(width, height, x=x, y=y)
    if size != SecondSize.of(width, height, x=size.width, y=size.height):
        raise BadRequest(f"infotext {_RESIZE}", pairs[_RESIZE], f"sides that are multiples of {_CELL}")
    return {"width": size.width, "height": size.height}


def _named(read: Callable[[str], T], key: str, label: str) -> T:
    try:
        return read(label)
    except BadRequest as error:
        raise BadRequest(f"infotext {key}", error.value, error.allowed) from None


def _upscaler(label: str) -> dict[str, Any]:
    """How the second pass begins: the way in which latents are scaled, or the model that enlarges pictures."""
    method = next((name for name, each in LATENT_UPSCALERS.items() if each == label), None)
    if method is not None:
        return {"method": method}
    if label.startswith("Latent") or label in KERNELS:
        known = ", ".join(LATENT_UPSCALERS.values())
        raise BadRequest(f"infotext {_UPSCALER}", label, f"one of {known}, or the name of an upscale model")
    return {"upscaler": UPSCALER_FILES.get(label, label)}
