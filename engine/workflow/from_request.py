"""The flat request → its workflow. A plain request has the node ids of the workflow that ComfyUI comes with."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from engine.errors import BadRequest
from engine.workflow.composing import ComposedGuider, WeightedPrompt
from engine.workflow.conditioning import CombineConditioning, WithArea
from engine.workflow.controls import ControlFile, Controlled
from engine.workflow.editing import ResizePictures
from engine.workflow.encoding import Encode, WithNoiseMask
from engine.workflow.latents import MAX_REPEATS, EmptyLatents, Latents, RepeatLatents, ScaleLatents
from engine.workflow.masks import ChannelMask
from engine.workflow.models import Checkpoint, Clip, ClipWithLora, LastLayer, Model, Vae, VaeFile, WithLora
from engine.workflow.node import Node
from engine.workflow.pictures import Decode, LoadPicture, Pictures, SavePictures
from engine.workflow.prompting import check_region, loras_of, parts_of_prompt, pass_of
from engine.workflow.sampling import CfgGuider, RandomNoise, Sample, Sampler, ScheduledSigmas
from engine.workflow.sizes import PIXELS_PER_CELL
from engine.workflow.text import Conditioning
from engine.workflow.upscaling import Upscale, UpscalerFile
from engine.workflow.workflow import Place, Workflow

if TYPE_CHECKING:
    from engine.request import GenerationRequest
    from engine.request_parts import Hires

CHECKPOINT, PICTURES = "4", "9"
"""The ids of the checkpoint and of the one output."""

_LORAS, _CONTROLS = 100, 200
"""The ids of the first nodes for these parts."""

_NODES_OF_PART = 10
"""How far the ids of one part's nodes are from the next one's."""


class _Ids(NamedTuple):
    """The ids of a pass's nodes for prompts."""

    positive: str
    negative: str
    regions: str
    """Of the first region."""
    parts: str
    """Of the first of several prompts that guidance follows."""


_PASSES = (_Ids("6", "7", "1000", "3000"), _Ids("96", "97", "2000", "5000"))
"""Of the first pass and of the second."""

N = TypeVar("N", bound=Node)


def workflow_of(request: GenerationRequest) -> Workflow:
    """The workflow of ``request``, whose one output has the id ``PICTURES``. Raises ``BadRequest`` without a seed."""
    return _built(request).workflow


def field_of(request: GenerationRequest, error: BadRequest) -> str:
    """The request's field that ``error`` is about, for an error about a node of the request's workflow."""
    if error.node is None:
        return error.field
    field = _built(request).fields.get((error.node, error.field), error.field)
    return "steps" if field == "sigmas" else field


@functools.lru_cache(maxsize=64)
def _built(request: GenerationRequest) -> _Builder:
    if request.seed is None:
        raise BadRequest("seed", None, "a seed that has been drawn: request.with_seed()")
    return _Builder(request)


class _Builder:
    """Makes the workflow, part by part, and notes which field of the request each field of its nodes is from."""

    def __init__(self, request: GenerationRequest) -> None:
        self._request = request
        self._places: dict[Place, Node] = {}
        self.fields: dict[tuple[Node, str], str] = {}
        """A node's field → the request's."""
        model, clip, vae = self._networks()
        self._pass = pass_of(request, request.sampler, request.steps)
        sample = self._put(
            "3", self._sample(self._guider(model, clip), self._start(vae), request.steps, request.denoise)
        )
        if request.hires is not None:
            sample = self._second_pass(request.hires, model, clip, sample)
        pictures: Pictures = self._put("8", Decode(latents=sample, vae=vae))
        if request.upscale is not None:
            upscaler = self._put("80", UpscalerFile(name=request.upscale), name="upscale")
            pictures = self._put("81", Upscale(upscaler=upscaler, pictures=pictures))
        self.workflow = Workflow(outputs={PICTURES: SavePictures(pictures=pictures)}, places=self._places)

    def _put(self, id: str, node: N, slot: int = 0, **fields: str) -> N:
        """Give ``node`` a place; ``fields`` are the request's for fields of the node whose names differ."""
        self._places[id, slot] = node
        for name, field in fields.items():
            self.fields[node, name] = field
        return node

    def _networks(self) -> tuple[Model, Clip, Vae]:
        request = self._request
        checkpoint = self._put(CHECKPOINT, Checkpoint(name=request.model), name="model")
        self._places |= {(CHECKPOINT, 1): checkpoint, (CHECKPOINT, 2): checkpoint}
        model: Model = checkpoint
        clip: Clip = checkpoint
        vae: Vae = checkpoint
        for place, (lora, name) in enumerate(loras_of(request)):
            id = str(_LORAS + place)
            text = lora.strength if lora.text_strength is None else lora.text_strength
            model = self._put(id, WithLora(model=model, name=lora.name, strength=lora.strength), name=name)
            clip = self._put(id, ClipWithLora(clip=clip, name=lora.name, strength=text), slot=1, name=name)
        if request.clip_skip > 1:
            clip = self._put("10", LastLayer(clip=clip, layer=-request.clip_skip), layer="clip_skip")
        if request.vae is not None:
            vae = self._put("11", VaeFile(name=request.vae), name="vae")
        return model, clip, vae

    def _guider(self, model: Model, clip: Clip, hires: Hires | None = None) -> CfgGuider | ComposedGuider:
        """The guider of the first pass, or of the second, ``hires``, whose regions are larger."""
        request = self._request
        places = _PASSES[hires is not None]
        first, *others = parts_of_prompt(request)
        positive = self._prompt(places.positive, clip, first.text, "prompt")
        negative = self._prompt(places.negative, clip, request.negative_prompt, "negative_prompt")
        positive = self._controlled(self._with_regions(positive, clip, hires), 0)
        negative = self._controlled(negative, 1)
        if not others and first.weight == 1:
            return CfgGuider(model=model, positive=positive, negative=negative, cfg_scale=request.cfg_scale)
        composition = self._put(
            places.parts, WeightedPrompt(conditioning=positive, weight=first.weight), weight="prompt"
        )
        for number, part in enumerate(others, start=1):
            id = int(places.parts) + _NODES_OF_PART * number
            prompt = self._controlled(self._prompt(str(id + 1), clip, part.text, "prompt"), number + 1)
            composition = WeightedPrompt(conditioning=prompt, weight=part.weight, before=composition)
            self._put(str(id), composition, weight="prompt")
        return ComposedGuider(model=model, positive=composition, negative=negative, cfg_scale=request.cfg_scale)

    def _with_regions(self, prompt: Conditioning, clip: Clip, hires: Hires | None) -> Conditioning:
        """``prompt`` for the whole picture, and the prompts of regions beside it."""
        for number, region in enumerate(self._request.regions):
            check_region(self._request, number)
            first = int(_PASSES[hires is not None].regions) + _NODES_OF_PART * number
            text = self._prompt(str(first), clip, region.prompt, f"regions[{number}].prompt")
            area = {name: getattr(region, name) for name in ("x", "y", "width", "height")}
            if hires is not None:
                area = {
                    name: round(value * hires.scale / PIXELS_PER_CELL) * PIXELS_PER_CELL for name, value in area.items()
                }
            inside = WithArea(conditioning=text, **area, strength=region.strength)
            self._put(str(first + 1), inside)
            self.fields |= {(inside, name): f"regions[{number}].{name}" for name in (*area, "strength")}
            prompt = self._put(str(first + 2), CombineConditioning(first=prompt, second=inside))
        return prompt

    def _prompt(self, id: str, clip: Clip, text: str, field: str) -> Conditioning:
        return self._put(id, self._pass.encoded(clip, text), text=field)

    def _controlled(self, prompt: Conditioning, slot: int) -> Conditioning:
        """``prompt``, steered by the request's networks. ``slot`` tells prompts apart: each has a place of its own."""
        for place, control in enumerate(self._request.controls):
            id, part = _CONTROLS + _NODES_OF_PART * place, f"controls[{place}]"
            network = self._put(str(id), ControlFile(name=control.name), name=f"{part}.name")
            pictures = self._put(str(id + 1), LoadPicture(name=control.image), name=f"{part}.image")
            values = {name: getattr(control, name) for name in ("strength", "start", "end")}
            steered = Controlled(conditioning=prompt, network=network, pictures=pictures, **values)
            prompt = self._put(
                str(id + 2 + slot // 2), steered, slot % 2, **{name: f"{part}.{name}" for name in values}
            )
        return prompt

    def _start(self, vae: Vae) -> Latents:
        """The latents that the first sampling begins from."""
        request = self._request
        if request.image is None:
            size = {"width": request.width, "height": request.height}
            return self._put("5", EmptyLatents(**size, batch_size=request.batch_size))
        if request.batch_size > MAX_REPEATS:
            raise BadRequest("batch_size", request.batch_size, f"at most {MAX_REPEATS} where there is an image")
        latents: Latents = self._put("13", Encode(pictures=self._fitted(12, request.image, "image"), vae=vae))
        if request.batch_size > 1:
            latents = self._put("14", RepeatLatents(latents=latents, amount=request.batch_size), amount="batch_size")
        if request.mask is not None:
            mask = self._put("17", ChannelMask(pictures=self._fitted(15, request.mask, "mask"), channel="red"))
            latents = self._put("18", WithNoiseMask(latents=latents, mask=mask))
        return latents

    def _fitted(self, id: int, name: str, field: str) -> Pictures:
        """A picture that was handed in, scaled to the request's size and cropped to the centre."""
        picture = self._put(str(id), LoadPicture(name=name), name=field)
        size = {"width": self._request.width, "height": self._request.height}
        fitted = ResizePictures(pictures=picture, method="lanczos", crop="center", **size)
        return self._put(str(id + 7), fitted)

    def _sample(self, guider: CfgGuider | ComposedGuider, latents: Latents, steps: int, denoise: float) -> Sample:
        request = self._request
        assert request.seed is not None
        return Sample(
            guider=guider,
            sampler=Sampler(name=request.sampler),
            sigmas=ScheduledSigmas(
                model=guider.model,
                sampler=request.sampler,
                scheduler=request.scheduler,
                steps=steps,
                denoise=denoise,
            ),
            noise=RandomNoise(seed=request.seed, start_noise=request.start_noise, step_noise=request.step_noise),
            latents=latents,
        )

    def _second_pass(self, hires: Hires, model: Model, clip: Clip, first: Sample) -> Sample:
        larger = ScaleLatents(latents=first, method=hires.method, factor=hires.scale)
        self._put("90", larger, factor="hires.scale", method="hires.method")
        steps = self._request.steps if hires.steps is None else hires.steps
        self._pass = pass_of(self._request, self._request.sampler, steps, before=self._pass)
        return self._put("91", self._sample(self._guider(model, clip, hires), larger, steps, hires.denoise))
