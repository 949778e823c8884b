"""A second, larger pass as AUTOMATIC1111's ``enable_hr`` asks for it → nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine import GenerationRequest
from engine.formats.infotext import SAMPLER_LABELS
from engine.formats.infotext.a1111_labels import a1111_label
from engine.request_a1111 import A1111
from engine.request_parts import Hires
from engine.sampling.a1111.samplers import OWN_SAMPLERS
from engine.text.a1111.composition import without_comments
from engine.workflow.a1111_second import Enlarging, SecondSize
from server.backends.checkpoints import FileInfo, ModelInfo
from server.dialects.sdapi.a1111 import sampling_of
from server.dialects.sdapi.body import Txt2Img
from server.dialects.sdapi.models import model_titled
from server.dialects.sdapi.passes import Pass
from server.dialects.sdapi.request import schedule_of
from server.dialects.sdapi.upscalers import KERNELS, upscaler_named
from server.problems import bad_request

LATENT_UPSCALERS: Mapping[str, str] = {
    "Latent": "bilinear",
    "Latent (antialiased)": "bilinear-antialiased",
    "Latent (bicubic)": "bicubic",
    "Latent (bicubic antialiased)": "bicubic-antialiased",
    "Latent (nearest)": "nearest",
    "Latent (nearest-exact)": "nearest-exact",
}
"""AUTOMATIC1111's names → how latents are scaled."""

_STRENGTH = 0.75

_SAID = ("prompt", "negative_prompt", "steps", "cfg_scale")
"""What a second pass says where it has another than the first."""


@dataclass(frozen=True, kw_only=True)
class SecondPass:
    """What a second pass is."""

    request: GenerationRequest
    """Its prompts, checkpoint and sampling, of the size that it has."""
    size: SecondSize
    scale: float | None
    """By which both sides grow; None: the size is given."""
    upscaler: str
    """AUTOMATIC1111's name of what enlarges, or that of a file."""
    strength: float

    @property
    def enlarging(self) -> Enlarging:
        """How what the first pass has made becomes larger."""
        if self.upscaler in LATENT_UPSCALERS:
            return Enlarging(method=LATENT_UPSCALERS[self.upscaler])
        if self.upscaler in KERNELS:
            return Enlarging(kernel=KERNELS[self.upscaler])
        return Enlarging(upscaler=self.upscaler)

    def described(self, first: GenerationRequest) -> GenerationRequest:
        """Return ``first`` with this second pass, but for its checkpoint and a strength of 0."""
        request, enlarging = self.request, self.enlarging
        own = None if request.a1111 is None else request.a1111.sampler
        hires = Hires(
            scale=self.scale,
            width=request.width if self.scale is None else None,
            height=request.height if self.scale is None else None,
            method=enlarging.method or "bilinear",
            upscaler=enlarging.upscaler,
            denoise=self.strength or 1.0,
            sampler=request.sampler if request.sampler != first.sampler and own is None else None,
            scheduler=request.scheduler if request.scheduler != first.scheduler else None,
            **{name: value for name in _SAID if (value := getattr(request, name)) != getattr(first, name)},
        )
        if first.a1111 is None or request.a1111 is None:
            return dataclasses.replace(first, hires=hires)
        kernel = None if enlarging.method or enlarging.upscaler else enlarging.kernel
        schedule = request.a1111.schedule if request.a1111.schedule != first.a1111.schedule else None
        part = dataclasses.replace(
            first.a1111,
            hires_sampler=own if own != first.a1111.sampler else None,
            hires_schedule=schedule,
            hires_kernel=kernel,
        )
        return dataclasses.replace(first, hires=hires, a1111=part)

    def of(self, first: GenerationRequest) -> GenerationRequest:
        """Return the request of the second pass of a picture, whose seeds are those of its first pass."""
        part = self.request.a1111
        if part is not None and first.a1111 is not None:
            part = dataclasses.replace(part, subseed=first.a1111.subseed)
        return dataclasses.replace(self.request, seed=first.seed, a1111=part)

    def behind(self, first: Pass, request: GenerationRequest) -> Pass:
        """Return the second pass, as ``request`` has it, from what ``first`` leaves."""
        second = Pass.of(request)
        before = first.sample.latents
        sides = {name: getattr(before, name) for name in ("width", "height")}  # a first pass begins from none
        start = self.enlarging.start(first.sample, **sides, size=self.size, vae=first.vae, second_vae=second.vae)
        return second.painted_over(start, self.strength, exact=True).behind(first)


def second_pass(
    body: Txt2Img, first: GenerationRequest, models: Sequence[ModelInfo], upscalers: Sequence[FileInfo]
) -> tuple[SecondPass, dict[str, str]]:
    """Return the second pass that ``body`` asks for behind ``first``, and what an infotext says of it.

    Raises ``Problem`` and ``BadRequest`` that name the field.
    """
    size = _size(body, first)
    upscaler = body.hr_upscaler or "Latent"
    if upscaler not in LATENT_UPSCALERS:
        upscaler = upscaler_named(upscaler, upscalers, "hr_upscaler", *LATENT_UPSCALERS)
    request = dataclasses.replace(
        first, width=size.width, height=size.height, hires=None, **_changes(body, first, models)
    )
    strength = _STRENGTH if body.denoising_strength is None else body.denoising_strength
    if not 0 <= strength <= 1:
        raise bad_request("denoising_strength", strength, "a number from 0 to 1")
    made = SecondPass(request=request, size=size, scale=_scale(body), upscaler=upscaler, strength=strength)
    return made, _notes(body, made)


def _size(body: Txt2Img, first: GenerationRequest) -> SecondSize:
    """Return the size of the second pass. Raises ``Problem`` for one that is out of range."""
    x, y = body.hr_resize_x or 0, body.hr_resize_y or 0
    for name, value in (("hr_resize_x", x), ("hr_resize_y", y)):
        if not 0 <= value <= 16384:
            raise bad_request(name, value, "a whole number from 0 to 16384")
    scale = _scale(body)
    if scale is not None and not 1 <= scale <= 8:
        raise bad_request("hr_scale", scale, "a number from 1 to 8")
    size = SecondSize.of(first.width, first.height, scale=scale or 1.0, x=x, y=y)
    for width, height in ((size.scaled_width, size.scaled_height), (size.width, size.height)):
        if min(width, height) < 64:
            raise bad_request("hr_resize_x", f"{width}×{height}", "a second pass of at least 64 × 64 pixels")
    return size


def _scale(body: Txt2Img) -> float | None:
    """Return by what both sides grow; None where one of them is given."""
    if body.hr_resize_x or body.hr_resize_y:
        return None
    return 2.0 if body.hr_scale is None else body.hr_scale


def _changes(body: Txt2Img, first: GenerationRequest, models: Sequence[ModelInfo]) -> dict[str, Any]:
    """Return the parameters in which the second pass differs from the first."""
    changes: dict[str, Any] = {}
    label = _own(body.hr_sampler_name, "Use same sampler")
    scheduler = _own(body.hr_scheduler, "Use same scheduler")
    if (label or scheduler) and first.a1111 is not None:
        changes |= _a1111_changes(first, first.a1111, label, scheduler)
    elif label or scheduler:
        changes["sampler"], changes["scheduler"] = schedule_of(
            label or SAMPLER_LABELS[first.sampler],
            scheduler or body.scheduler,
            "hr_sampler_name",
            "hr_scheduler",
        )
    for name, text in (("prompt", body.hr_prompt), ("negative_prompt", body.hr_negative_prompt)):
        if text:
            changes |= {name: without_comments(text), "prompt_syntax": "a1111"}
    if body.hr_cfg:
        changes["cfg_scale"] = body.hr_cfg
    if body.hr_second_pass_steps:
        changes["steps"] = body.hr_second_pass_steps
    if checkpoint := _own(body.hr_checkpoint_name, "Use same checkpoint"):
        changes["model"] = model_titled(checkpoint, models, "hr_checkpoint_name").name
    return changes


def _a1111_changes(first: GenerationRequest, part: A1111, label: str | None, scheduler: str | None) -> dict[str, Any]:
    """Return the second pass's sampler and schedule type, where AUTOMATIC1111's picture is made."""
    label = label or a1111_label(part.sampler or first.sampler)
    scheduler = scheduler or part.schedule
    sampler, schedule = sampling_of(label, scheduler, "hr_sampler_name", "hr_scheduler")
    own = sampler if sampler in OWN_SAMPLERS else None
    changed = dataclasses.replace(part, schedule=schedule, sampler=own)
    return {"a1111": changed} | ({} if own else {"sampler": sampler})


def _own(name: str | None, same: str) -> str | None:
    return None if name in (None, "", "None", same) else name


def _notes(body: Txt2Img, made: SecondPass) -> dict[str, str]:
    """Return what an infotext says of a second pass in other words than ``SecondPass.described`` would."""
    notes = {"Denoising strength": str(float(made.strength)), "Hires upscaler": made.upscaler}
    if body.hr_resize_x or body.hr_resize_y:
        notes["Hires resize"] = f"{body.hr_resize_x or 0}x{body.hr_resize_y or 0}"
    if _own(body.hr_checkpoint_name, "Use same checkpoint"):
        notes["Hires checkpoint"] = str(made.request.model)
    return notes
