"""Workflow → the flat request that says the same, where there is one: ``engine.workflow.from_request`` the other way.

What is found is written as a workflow again and compared, so that nothing is taken for less than it says. Knows no
forms of graphs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from engine.errors import BadRequest
from engine.formats.comfyui.places import place
from engine.formats.comfyui.writer import place_of
from engine.parameters import parameters_of
from engine.request import GenerationRequest
from engine.request_parts import Control, Hires, Lora, PromptReading, Region, Upscaling
from engine.text.a1111.composition import Part, joined, parts_of
from engine.text.a1111.networks import without_tags
from engine.workflow.composing import ComposedGuider, prompts_of
from engine.workflow.conditioning import CombineConditioning, WithArea
from engine.workflow.controls import ControlFile, Controlled
from engine.workflow.editing import ResizePictures
from engine.workflow.encoding import Encode, WithNoiseMask
from engine.workflow.from_request import workflow_of
from engine.workflow.latents import EmptyLatents, RepeatLatents, ResizeLatents, ScaleLatents
from engine.workflow.masks import ChannelMask
from engine.workflow.models import Checkpoint, Clip, ClipWithLora, LastLayer, Vae, VaeFile, WithLora
from engine.workflow.node import Node, in_order
from engine.workflow.pictures import Decode, LoadPicture
from engine.workflow.prompting import evaluations_of, reading_at
from engine.workflow.sampling import CfgGuider, RandomNoise, Sample, ScheduledSigmas
from engine.workflow.text import EncodeA1111Text, EncodedText
from engine.workflow.upscaling import Upscale, UpscalerFile
from engine.workflow.workflow import Workflow

_FLAT = (
    "nothing else is one request: a KSampler from empty latents or an encoded picture, by one checkpoint with LoRAs, "
    "with prompts for the whole picture and for areas, ControlNets, a second pass at a larger size, an upscale model"
)

N = TypeVar("N", bound=Node)


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
    return {name: flat.place(node, field) for name, (node, field) in flat.fields.items()}


class _Flat:
    """A workflow that is taken for a request, part by part."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self.fields: dict[str, tuple[Node, str]] = {}
        """A parameter's name → the node and the field that have its value."""

    def request(self) -> GenerationRequest:
        end = self._end()
        upscale = end.pictures if isinstance(end.pictures, Upscale) else None
        decode = self._part(upscale or end, "pictures", Decode, "VAEDecode")
        last = self._part(decode, "latents", Sample, "KSampler")
        larger = last.latents if isinstance(last.latents, ScaleLatents | ResizeLatents) else None
        first = last if larger is None else self._part(larger, "latents", Sample, "KSampler")
        self._sampling(first)
        values = self._start(first)
        guider = self._guider(first)
        checkpoint = self._checkpoint(guider)
        values |= self._prompts(guider, checkpoint, first) | self._vae(decode, checkpoint)
        if larger is not None:
            values["hires"] = self._hires(larger, last, first)
        if upscale is not None:
            values["upscale"] = Upscaling(
                model=self._part(upscale, "upscaler", UpscalerFile, "UpscaleModelLoader").name
            )
        known = parameters_of(GenerationRequest)
        found = {name: getattr(node, field) for name, (node, field) in self.fields.items() if name in known}
        values = found | values
        return self._checked(values)

    def _checked(self, values: Mapping[str, Any]) -> GenerationRequest:
        """The request of ``values``, where it is the whole workflow; a plain one is, by what was looked at so far."""
        end = next(iter(self._workflow.outputs.values()))
        self.fields["regions"] = self.fields["controls"] = self.fields["prompt"]
        try:
            request = GenerationRequest(**values)
            made = None if request.plain else next(iter(workflow_of(request).outputs.values()))
        except BadRequest as error:
            node, field = self.fields.get(error.field, (end, "pictures"))
            raise BadRequest(self.place(node, field), error.value, error.allowed) from None
        if made is not None and made.pictures != end.pictures:
            said = set(in_order(made.pictures))
            more = next(node for node in in_order(end.pictures) if node not in said)
            field, value = next(iter(more.fields()))
            raise BadRequest(
                self.place(more, field), self._described(value) if isinstance(value, Node) else value, _FLAT
            )
        return request

    def _end(self) -> Any:
        first, *others = self._workflow.outputs.values()
        for end in others:
            if end.pictures != first.pictures:
                raise BadRequest(self.place(end, "pictures"), "a second picture", f"one picture, or batch; {_FLAT}")
        return first

    def _sampling(self, sample: Sample) -> None:
        sigmas = self._part(sample, "sigmas", ScheduledSigmas, "KSampler's schedule")
        noise = self._part(sample, "noise", RandomNoise, "RandomNoise")
        sampler = sample.sampler
        if sampler.options:
            raise BadRequest(self.place(sampler, "options"), sampler.options, f"a sampler without options; {_FLAT}")
        if (sigmas.sampler, sigmas.model) != (sampler.name, getattr(sample.guider, "model", None)):
            raise BadRequest(self.place(sample, "sigmas"), sigmas.sampler, f"a schedule for {sampler.name}; {_FLAT}")
        self.fields |= {name: (noise, name) for name in ("seed", "start_noise", "step_noise")}
        self.fields |= {name: (sigmas, name) for name in ("steps", "scheduler", "denoise")}
        self.fields["sampler"] = (sampler, "name")

    def _start(self, sample: Sample) -> dict[str, Any]:
        """What the latents that the first sampling begins from say."""
        node: Any = sample
        values: dict[str, Any] = {}
        if isinstance(sample.latents, EmptyLatents):
            self.fields |= {name: (sample.latents, name) for name in ("width", "height", "batch_size")}
            return values
        if isinstance(sample.latents, WithNoiseMask):
            node = sample.latents
            mask = self._part(node, "mask", ChannelMask, "ImageToMask")
            values["mask"] = self._picture(self._part(mask, "pictures", ResizePictures, "ImageScale"))
        if isinstance(node.latents, RepeatLatents):
            node = node.latents
            self.fields["batch_size"] = (node, "amount")
        encode = self._part(node, "latents", Encode, "EmptyLatentImage, or VAEEncode")
        fitted = self._part(encode, "pictures", ResizePictures, "ImageScale")
        self.fields |= {name: (fitted, name) for name in ("width", "height")}
        return values | {"image": self._picture(fitted)}

    def _picture(self, fitted: ResizePictures) -> str:
        return self._part(fitted, "pictures", LoadPicture, "LoadImage").name

    def _checkpoint(self, guider: CfgGuider | ComposedGuider) -> Checkpoint:
        node: Any = guider
        while isinstance(node.model, WithLora):
            node = node.model
        checkpoint = self._part(node, "model", Checkpoint, "CheckpointLoaderSimple")
        self.fields |= {"model": (checkpoint, "name"), "cfg_scale": (guider, "cfg_scale")}
        return checkpoint

    def _guider(self, sample: Sample) -> CfgGuider | ComposedGuider:
        if isinstance(sample.guider, ComposedGuider):
            return sample.guider
        return self._part(sample, "guider", CfgGuider, "CFGGuider")

    def _prompts(self, guider: CfgGuider | ComposedGuider, checkpoint: Checkpoint, sample: Sample) -> dict[str, Any]:
        weighted = prompts_of(guider.positive) if isinstance(guider, ComposedGuider) else ()
        places: list[tuple[Node, str]] = [(each, "conditioning") for each in weighted] or [(guider, "positive")]
        ends = [self._controls(*each) for each in (*places, (guider, "negative"))]
        first, areas = self._regions(*ends[0][0])
        others = [self._part(*end, EncodedText, "CLIPTextEncode") for end, _ in ends[1:]]
        texts = [self._part(area, "conditioning", EncodedText, "CLIPTextEncode") for area in areas]
        prompts = [first, *others, *texts]
        clips = [self._clip(checkpoint, each) for each in prompts]
        layers = [layer for layer, _ in clips]
        other = next((i for i, layer in enumerate(layers) if layer != layers[0]), None)
        if other is not None:
            allowed = f"{layers[0]}, the layer of the other prompt; {_FLAT}"
            raise BadRequest(self._layer_place(prompts[other]), layers[other], allowed)
        self.fields |= {"prompt": (first, "text"), "negative_prompt": (others[-1], "text")}
        self.fields |= {f"regions[{i}].{name}": (area, name) for i, area in enumerate(areas) for name in ("x", "y")}
        weights = [each.weight for each in weighted] or [1.0]
        parts = [Part(text=each.text, weight=weight) for each, weight in zip(prompts, weights, strict=False)]
        is_a1111 = isinstance(guider, ComposedGuider) or any(isinstance(each, EncodeA1111Text) for each in prompts)
        return {
            "clip_skip": -layers[0],
            "regions": tuple(_region(area, text) for area, text in zip(areas, texts, strict=True)),
            "controls": ends[0][1],
            "loras": self._loras(guider, clips[0][1]),
            **(self._language(prompts, parts, sample) if is_a1111 else {}),
        }

    def _language(self, prompts: list[EncodedText], parts: list[Part], sample: Sample) -> dict[str, Any]:
        """AUTOMATIC1111's syntax, how it is read, and the positive prompt in it."""
        sigmas = self._part(sample, "sigmas", ScheduledSigmas, "KSampler's schedule")
        count = evaluations_of(sigmas.sampler, sigmas.steps)
        reading = next((reading_at(each) for each in prompts if isinstance(each, EncodeA1111Text)), PromptReading())
        rules = {"evaluations": count, **dataclasses.asdict(reading)}
        for prompt in prompts:
            if prompt != EncodeA1111Text(clip=prompt.clip, text=prompt.text, **rules):
                allowed = f"A1111TextEncode for {count} evaluations, as the other prompts; {_FLAT}"
                raise BadRequest(self.place(prompt, "text"), self._described(prompt), allowed)
        whole, where = joined(parts), self.place(prompts[0], "text")
        if list(parts_of(without_tags(whole, where)[0])) != parts:
            allowed = f"a text without AND, a weight of its own, tags, and blanks at its end; {_FLAT}"
            raise BadRequest(where, prompts[0].text, allowed)
        rules = {} if reading == PromptReading() else {"prompt_reading": reading}
        return {"prompt": whole, "prompt_syntax": "a1111", **rules}

    def _controls(self, node: Any, field: str) -> tuple[tuple[Node, str], tuple[Control, ...]]:
        """The node and field below the ControlNets of a prompt, and these in the order in which they apply."""
        found = []
        while isinstance(getattr(node, field), Controlled):
            node, field = getattr(node, field), "conditioning"
            values = {name: getattr(node, name) for name in ("strength", "start", "end")}
            name = self._part(node, "network", ControlFile, "ControlNetLoader").name
            image = self._part(node, "pictures", LoadPicture, "LoadImage").name
            found.append(Control(model=name, image=image, **values))
        return (node, field), tuple(found[::-1])

    def _regions(self, node: Node, field: str) -> tuple[EncodedText, list[WithArea]]:
        """The prompt for the whole picture, and what combines it with those for areas."""
        areas = []
        while isinstance(getattr(node, field), CombineConditioning):
            node, field = getattr(node, field), "first"
            areas.append(self._part(node, "second", WithArea, "ConditioningSetArea"))
        return self._part(node, field, EncodedText, "CLIPTextEncode"), areas[::-1]

    def _clip(self, checkpoint: Checkpoint, prompt: EncodedText) -> tuple[int, tuple[ClipWithLora, ...]]:
        """A prompt's text encoder layer, -1 the last, of which the setter next to the prompt counts; and its LoRAs."""
        node: Node = prompt
        clip = prompt.clip
        loras: list[ClipWithLora] = []
        while isinstance(clip, LastLayer | ClipWithLora):
            loras += [clip] if isinstance(clip, ClipWithLora) else []
            node, clip = clip, clip.clip
        self._same_checkpoint(checkpoint, node, "clip", clip)
        return prompt.clip.layer if isinstance(prompt.clip, LastLayer) else -1, tuple(loras[::-1])

    def _loras(self, guider: CfgGuider | ComposedGuider, texts: tuple[ClipWithLora, ...]) -> tuple[Lora, ...]:
        """The LoRAs in the order in which they apply; ``texts``: how they change the text encoder."""
        model, found = guider.model, []
        while isinstance(model, WithLora):
            found.append(model)
            model = model.model
        made = []
        for place_, lora in enumerate(found[::-1]):
            text = texts[place_].strength if place_ < len(texts) else None
            made.append(
                Lora(name=lora.name, strength=lora.strength, clip_strength=None if text == lora.strength else text)
            )
        return tuple(made)

    def _vae(self, decode: Decode, checkpoint: Checkpoint) -> dict[str, Any]:
        if isinstance(decode.vae, VaeFile):
            return {"vae": decode.vae.name}
        self._same_checkpoint(checkpoint, decode, "vae", decode.vae)
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
            raise BadRequest(self.place(larger, "method"), error.value, f"{error.allowed}; {_FLAT}") from None

    def _pass(self, sample: Sample) -> dict[str, Any]:
        """What a pass samples with; its prompts as their ends have them."""
        sigmas = self._part(sample, "sigmas", ScheduledSigmas, "KSampler's schedule")
        noise = self._part(sample, "noise", RandomNoise, "RandomNoise")
        guider = self._guider(sample)
        values = {name: getattr(sigmas, name) for name in ("steps", "scheduler", "denoise")}
        values |= {"sampler": sample.sampler.name, "seed": noise.seed, "cfg_scale": guider.cfg_scale}
        if isinstance(guider, CfgGuider):
            for name, field in (("prompt", "positive"), ("negative_prompt", "negative")):
                (node, place_), _ = self._controls(guider, field)
                values[name] = self._regions(node, place_)[0].text
        else:
            values |= {"prompt": None, "negative_prompt": None}
        return values

    def _part(self, node: Node, field: str, kind: type[N], wanted: str) -> N:
        found = getattr(node, field)
        if not isinstance(found, kind):
            raise BadRequest(self.place(node, field), self._described(found), f"{wanted}; {_FLAT}")
        return found

    def _layer_place(self, prompt: EncodedText) -> str:
        is_set = isinstance(prompt.clip, LastLayer)
        return self.place(prompt.clip, "layer") if is_set else self.place(prompt, "clip")

    def _same_checkpoint(self, checkpoint: Checkpoint, node: Node, field: str, other: Vae | Clip) -> None:
        if other != checkpoint:
            name = other.name if isinstance(other, Checkpoint) else self._described(other)
            raise BadRequest(self.place(node, field), name, f"the sampler's checkpoint, {checkpoint.name}; {_FLAT}")

    def place(self, node: Node, field: str) -> str:
        """The place of a field in the graph."""
        return place_of(self._workflow, node, field)

    def _described(self, node: Node) -> str:
        identity = self._workflow.ids.get(node)
        entry = (self._workflow.graph or {}).get(identity or "")
        return (
            place(identity, str(entry["class_type"])) if identity and isinstance(entry, dict) else type(node).__name__
        )


def _region(area: WithArea, text: EncodedText) -> Region:
    values = {name: getattr(area, name) for name in ("x", "y", "width", "height", "strength")}
    return Region(prompt=text.text, **values)
