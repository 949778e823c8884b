"""Workflow → the flat request that says the same, where there is one: ``engine.workflow.from_request`` the other way.

What is found is written as a workflow again and compared, so that nothing is taken for less than it says. Knows no
forms of graphs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import BadRequest
from engine.formats.comfyui.flat_parts import Parts
from engine.formats.comfyui.flat_prompts import controls_below, prompts_below, prompts_of_request
from engine.parameters import parameters_of
from engine.request import GenerationRequest
from engine.request_parts import Hires, Lora, Upscaling
from engine.workflow.composing import ComposedGuider
from engine.workflow.editing import ResizePictures
from engine.workflow.encoding import Encode, WithNoiseMask
from engine.workflow.from_request import workflow_of
from engine.workflow.latents import EmptyLatents, RepeatLatents, ResizeLatents, ScaleLatents
from engine.workflow.masks import ChannelMask
from engine.workflow.models import Checkpoint, ClipWithLora, Model, VaeFile, WithLora
from engine.workflow.node import Node, in_order
from engine.workflow.pictures import Decode, LoadPicture
from engine.workflow.sampling import CfgGuider, RandomNoise, Sample, ScheduledSigmas
from engine.workflow.upscaling import Upscale, UpscalerFile
from engine.workflow.workflow import Workflow


def request_of(workflow: Workflow) -> GenerationRequest:
    """Return the request that ``workflow`` stands for.

    Raises ``BadRequest``, naming the place, where the workflow is more than a request can say, or has a value that a
    request does not take.
    """
    return _Flat(workflow).request()


def parameter_places(workflow: Workflow) -> Mapping[str, str]:
    """Return the place in the graph of each scalar parameter: ``width`` → ``workflow node 5 (EmptyLatentImage) width``.

    Raises what ``request_of`` raises.
    """
    flat = _Flat(workflow)
    flat.request()
    return {name: flat.parts.place(node, field) for name, (node, field) in flat.fields.items()}


class _Flat:
    """A workflow that is taken for a request, part by part."""

    def __init__(self, workflow: Workflow) -> None:
        self.parts = Parts(workflow)
        self.fields: dict[str, tuple[Node, str]] = {}
        """A parameter's name → the node and the field that have its value."""

    def request(self) -> GenerationRequest:
        end = self._end()
        upscale = end.pictures if isinstance(end.pictures, Upscale) else None
        decode = self.parts.part(upscale or end, "pictures", Decode, "VAEDecode")
        last = self.parts.part(decode, "latents", Sample, "KSampler")
        larger = last.latents if isinstance(last.latents, ScaleLatents | ResizeLatents) else None
        first = last if larger is None else self.parts.part(larger, "latents", Sample, "KSampler")
        self._sampling(first)
        values = self._start(first)
        guider = self._guider(first)
        checkpoint = self._checkpoint(guider)
        prompts = prompts_of_request(self.parts, guider, checkpoint, first)
        self.fields |= prompts.fields
        values |= {**prompts.values, "loras": _loras(guider.model, prompts.loras), **self._vae(decode, checkpoint)}
        if larger is not None:
            values["hires"] = self._hires(larger, last, first)
        if upscale is not None:
            values["upscale"] = Upscaling(
                model=self.parts.part(upscale, "upscaler", UpscalerFile, "UpscaleModelLoader").name
            )
        known = parameters_of(GenerationRequest)
        found = {name: getattr(node, field) for name, (node, field) in self.fields.items() if name in known}
        values = found | values
        return self._checked(values)

    def _checked(self, values: Mapping[str, Any]) -> GenerationRequest:
        """The request of ``values``, where it is the whole workflow; a plain one is, by what was looked at so far."""
        end = next(iter(self.parts.workflow.outputs.values()))
        self.fields["regions"] = self.fields["controls"] = self.fields["prompt"]
        try:
            request = GenerationRequest(**values)
            made = None if request.plain else next(iter(workflow_of(request).outputs.values()))
        except BadRequest as error:
            node, field = self.fields.get(error.field, (end, "pictures"))
            raise BadRequest(self.parts.place(node, field), error.value, error.allowed) from None
        if made is not None and made.pictures != end.pictures:
            said = set(in_order(made.pictures))
            more = next(node for node in in_order(end.pictures) if node not in said)
            field, value = next(iter(more.fields()))
            raise self.parts.refused(more, field, value)
        return request

    def _end(self) -> Any:
        first, *others = self.parts.workflow.outputs.values()
        for end in others:
            if end.pictures != first.pictures:
                raise self.parts.refused(end, "pictures", "a second picture", "one picture, or batch")
        return first

    def _sampling(self, sample: Sample) -> None:
        sigmas = self.parts.part(sample, "sigmas", ScheduledSigmas, "KSampler's schedule")
        noise = self._noise(sample)
        sampler = sample.sampler
        if sampler.options:
            raise self.parts.refused(sampler, "options", sampler.options, "a sampler without options")
        if (sigmas.sampler, sigmas.model) != (sampler.name, getattr(sample.guider, "model", None)):
            raise self.parts.refused(sample, "sigmas", sigmas.sampler, f"a schedule for {sampler.name}")
        self.fields |= {name: (noise, name) for name in ("seed", "start_noise", "step_noise")}
        self.fields |= {name: (sigmas, name) for name in ("steps", "scheduler", "denoise")}
        self.fields["sampler"] = (sampler, "name")

    def _noise(self, sample: Sample) -> RandomNoise:
        noise = self.parts.part(sample, "noise", RandomNoise, "RandomNoise")
        if noise.factor != 1:
            raise self.parts.refused(noise, "factor", noise.factor, "1")
        return noise

    def _start(self, sample: Sample) -> dict[str, Any]:
        """What the latents that the first sampling begins from say."""
        node: Any = sample
        values: dict[str, Any] = {}
        if isinstance(sample.latents, EmptyLatents):
            self.fields |= {name: (sample.latents, name) for name in ("width", "height", "batch_size")}
            return values
        if isinstance(sample.latents, WithNoiseMask):
            node = sample.latents
            mask = self.parts.part(node, "mask", ChannelMask, "ImageToMask")
            values["mask"] = self._picture(self.parts.part(mask, "pictures", ResizePictures, "ImageScale"))
        if isinstance(node.latents, RepeatLatents):
            node = node.latents
            self.fields["batch_size"] = (node, "amount")
        encode = self.parts.part(node, "latents", Encode, "EmptyLatentImage, or VAEEncode")
        fitted = self.parts.part(encode, "pictures", ResizePictures, "ImageScale")
        self.fields |= {name: (fitted, name) for name in ("width", "height")}
        return values | {"image": self._picture(fitted)}

    def _picture(self, fitted: ResizePictures) -> str:
        return self.parts.part(fitted, "pictures", LoadPicture, "LoadImage").name

    def _checkpoint(self, guider: CfgGuider | ComposedGuider) -> Checkpoint:
        node: Any = guider
        while isinstance(node.model, WithLora):
            node = node.model
        checkpoint = self.parts.part(node, "model", Checkpoint, "CheckpointLoaderSimple")
        self.fields |= {"model": (checkpoint, "name"), "cfg_scale": (guider, "cfg_scale")}
        return checkpoint

    def _guider(self, sample: Sample) -> CfgGuider | ComposedGuider:
        if isinstance(sample.guider, ComposedGuider):
            return sample.guider
        return self.parts.part(sample, "guider", CfgGuider, "CFGGuider")

    def _vae(self, decode: Decode, checkpoint: Checkpoint) -> dict[str, Any]:
        if isinstance(decode.vae, VaeFile):
            return {"vae": decode.vae.name}
        self.parts.same_checkpoint(checkpoint, decode, "vae", decode.vae)
        return {}

    def _hires(self, larger: ScaleLatents | ResizeLatents, last: Sample, first: Sample) -> Hires:
        if isinstance(larger, ScaleLatents):
            size: dict[str, Any] = {"scale": larger.factor}
        else:
            size = {"width": larger.width, "height": larger.height}
        before, after = self._pass(first), self._pass(last)
        changes = {name: value for name, value in after.items() if name != "denoise" and value != before[name]}
        try:
            return Hires(method=larger.method, denoise=after["denoise"], **size, **changes)
        except BadRequest as error:
            raise self.parts.refused(larger, "method", error.value, error.allowed) from None

    def _pass(self, sample: Sample) -> dict[str, Any]:
        """What a pass samples with; its prompts as their ends have them."""
        sigmas = self.parts.part(sample, "sigmas", ScheduledSigmas, "KSampler's schedule")
        noise = self._noise(sample)
        guider = self._guider(sample)
        values = {name: getattr(sigmas, name) for name in ("steps", "scheduler", "denoise")}
        values |= {"sampler": sample.sampler.name, "seed": noise.seed, "cfg_scale": guider.cfg_scale}
        if isinstance(guider, CfgGuider):
            for name, field in (("prompt", "positive"), ("negative_prompt", "negative")):
                (node, place_), _ = controls_below(self.parts, guider, field)
                values[name] = prompts_below(self.parts, node, place_)[0].text
        else:
            values |= {"prompt": None, "negative_prompt": None}
        return values


def _loras(model: Model, texts: Sequence[ClipWithLora]) -> tuple[Lora, ...]:
    """The LoRAs in the order in which they apply; ``texts``: how they change the text encoder."""
    found = []
    while isinstance(model, WithLora):
        found.append(model)
        model = model.model
    made = []
    for place, lora in enumerate(found[::-1]):
        text = texts[place].strength if place < len(texts) else None
        strengths: dict[str, Any] = {
            "strength": lora.strength,
            "clip_strength": None if text == lora.strength else text,
        }
        made.append(Lora(name=lora.name, **strengths, rank=lora.rank))
    return tuple(made)
