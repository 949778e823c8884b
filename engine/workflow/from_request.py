"""The flat request → its workflow. A plain request has the node ids of the workflow that ComfyUI comes with."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from engine.errors import BadRequest
from engine.text.a1111.networks import without_tags
from engine.workflow.a1111 import PictureNoise
from engine.workflow.a1111_sampling import A1111Pass
from engine.workflow.a1111_second import enlarging_of, part_of_second, size_of_second
from engine.workflow.composing import ComposedGuider, WeightedPrompt
from engine.workflow.conditioning import CombineConditioning, WithArea, WithMask, WithRange
from engine.workflow.controls import ControlFile, Controlled
from engine.workflow.editing import ResizePictures
from engine.workflow.encoding import Encode, EncodeForInpaint, WithNoiseMask
from engine.workflow.inpainting import DifferentialDiffusion, WithMaskedPicture
from engine.workflow.latents import MAX_REPEATS, EmptyLatents, Latents, RepeatLatents, ResizeLatents, ScaleLatents
from engine.workflow.masks import ChannelMask, LoadMask, Mask
from engine.workflow.models import Checkpoint, Clip, ClipWithLora, LastLayer, Model, Vae, VaeFile, WithLora
from engine.workflow.node import Node, in_order
from engine.workflow.pictures import Decode, LoadPicture, Pictures, SavePictures
from engine.workflow.prompting import check_region, loras_of, parts_of_prompt, pass_of
from engine.workflow.sampling import CfgGuider, Guider, RandomNoise, Sample, Sampler, ScheduledSigmas, Sigmas
from engine.workflow.sizes import PIXELS_PER_CELL
from engine.workflow.substitution import substituted
from engine.workflow.text import Conditioning
from engine.workflow.upscaling import Upscale, UpscalerFile
from engine.workflow.workflow import Place, Workflow

if TYPE_CHECKING:
    from engine.request import GenerationRequest
    from engine.request_parts import Hires, Region, Upscaling

CHECKPOINT, PICTURES = "4", "9"
"""The ids of the checkpoint and of the one output."""

_LORAS, _CONTROLS, _LORAS_OF_SECOND = 100, 200, 4000
"""The ids of the first nodes for these parts."""

_NODES_OF_PART = 10
"""How far the ids of one part's nodes are from the next one's."""


class _Ids(NamedTuple):
    """The ids of a pass's nodes for prompts."""

    positive: str
    negative: str
    regions: str
    """The first id of those for the first region."""
    parts: str
    """The first id of those for the first of several prompts that guidance follows."""


_PASSES = (_Ids("6", "7", "1000", "3000"), _Ids("96", "97", "2000", "5000"))
"""The ids in the first pass, and in the second."""

_SIDES_OF_HIRES = {"width": "hires.width", "height": "hires.height"}

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


def _same(kind: type[N], **fields: Any) -> N:
    """Return a node that many requests have, made once: nodes are values."""
    any_kind: Any = kind
    node: N = _made(any_kind, **fields)
    return node


@functools.lru_cache(maxsize=256, typed=True)
def _made(kind: Any, **fields: Any) -> Any:
    return kind(**fields)


class _Builder:
    """Makes the workflow, part by part, and notes which field of the request each field of its nodes is from."""

    def __init__(self, request: GenerationRequest) -> None:
        self._request = request
        self._places: dict[Place, Node] = {}
        self.fields: dict[tuple[Node, str], str] = {}
        """A node's field → the request's."""
        self._hires: Hires | None = None
        """The second pass, once that is being made."""
        self._hole: tuple[Latents, Mask] | None = None
        """What an inpainting checkpoint is shown of the image."""
        model, clip, vae = self._networks()
        self._pass = pass_of(request, request.sampler, request.steps)
        start = self._start(vae)
        if request.mask is not None and request.mask_mode == "soft":
            model = self._put("19", DifferentialDiffusion(model=model))
        sample = self._put("3", self._sample(self._guider(self._read(model, vae), clip), start, request.denoise))
        if request.hires is not None:
            sample = self._second_pass(request.hires, model, clip, vae, sample)
        own = self._a1111
        vae = self._by_refiner(vae, None if own is None else own.refiner)
        pictures: Pictures = self._put("8", Decode(latents=sample, vae=vae))
        if request.upscale is not None:
            pictures = self._upscaled(request.upscale, pictures)
        self.workflow = Workflow(outputs={PICTURES: SavePictures(pictures=pictures)}, places=self._places)

    def _put(self, id: str, node: N, slot: int = 0, **fields: str) -> N:
        """Give ``node`` a place; ``fields`` are the request's for fields of the node whose names differ."""
        self._places[id, slot] = node
        for name, field in fields.items():
            self.fields[node, name] = field
        return node

    def _networks(self, loras: int = _LORAS, last_layer: str = "10") -> tuple[Model, Clip, Vae]:
        """What the request's pass is made with; ``loras`` and ``last_layer`` are ids."""
        request = self._request
        checkpoint = self._put(CHECKPOINT, _same(Checkpoint, name=request.model), name="model")
        self._places |= {(CHECKPOINT, 1): checkpoint, (CHECKPOINT, 2): checkpoint}
        model: Model = checkpoint
        clip: Clip = checkpoint
        vae: Vae = checkpoint
        for place, (lora, name) in enumerate(loras_of(request)):
            id = str(loras + place)
            text = lora.strength if lora.clip_strength is None else lora.clip_strength
            manner = "engine" if request.a1111 is None else "a1111"
            way: dict[str, Any] = {"name": lora.name, "rank": lora.rank, "manner": manner}
            model = self._put(id, WithLora(model=model, strength=lora.strength, **way), name=self._named(name))
            clip = self._put(id, ClipWithLora(clip=clip, strength=text, **way), slot=1, name=self._named(name))
        if request.clip_skip > 1:
            clip = self._put(last_layer, LastLayer(clip=clip, layer=-request.clip_skip), layer="clip_skip")
        if request.vae is not None:
            vae = self._put("11", VaeFile(name=request.vae), name="vae")
        return model, clip, vae

    @property
    def _a1111(self) -> A1111Pass | None:
        """What the pass is made of where it is AUTOMATIC1111's; None: ComfyUI's."""
        part = self._request.a1111
        if part is None:
            return None
        if self._hires is None:
            return A1111Pass(request=self._request, part=part)
        width, height = self._size
        request = dataclasses.replace(self._request, denoise=self._hires.denoise, width=width, height=height)
        return A1111Pass(request=request, part=part, second=True)

    @property
    def _size(self) -> tuple[int, int]:
        """Width and height of the pass that is being made."""
        request, hires = self._request, self._hires
        if hires is None:
            return request.width, request.height
        if request.a1111 is None:
            return hires.size(request.width, request.height)
        size = size_of_second(request, hires)
        return size.width, size.height

    def _guider(self, model: Model, clip: Clip) -> CfgGuider | ComposedGuider:
        request = self._request
        places = _PASSES[self._hires is not None]
        first, *others = parts_of_prompt(request)
        positive = self._prompt(places.positive, clip, first.text, "prompt")
        negative = self._prompt(places.negative, clip, request.negative_prompt, "negative_prompt")
        positive = self._shown(self._controlled(self._with_regions(positive, clip), 0), 0)
        negative = self._shown(self._controlled(negative, 1), 1)
        if (own := self._a1111) is not None:
            negative = own.rested(negative, self._pass.evaluations)
        if not others and first.weight == 1:
            return CfgGuider(model=model, positive=positive, negative=negative, cfg_scale=self._cfg_scale)
        composition = self._put(
            places.parts, WeightedPrompt(conditioning=positive, weight=first.weight), weight="prompt"
        )
        for number, part in enumerate(others, start=1):
            id = int(places.parts) + _NODES_OF_PART * number
            prompt = self._controlled(self._prompt(str(id + 1), clip, part.text, "prompt"), number + 1)
            composition = WeightedPrompt(conditioning=prompt, weight=part.weight, before=composition)
            self._put(str(id), composition, weight="prompt")
        return ComposedGuider(model=model, positive=composition, negative=negative, cfg_scale=self._cfg_scale)

    def _read(self, model: Model, vae: Vae) -> Model:
        """``model`` as the program reads it whose picture is made."""
        own = self._a1111
        return model if own is None else self._put("30" if self._hires is None else "31", own.read(model, vae))

    @property
    def _cfg_scale(self) -> float:
        own = self._a1111
        return self._request.cfg_scale * (1.0 if own is None else own.rule.guidance)

    def _with_regions(self, prompt: Conditioning, clip: Clip) -> Conditioning:
        """``prompt`` for the whole picture, and the prompts of regions beside it."""
        for number, region in enumerate(self._request.regions):
            check_region(self._request, number)
            first, field = int(_PASSES[self._hires is not None].regions) + _NODES_OF_PART * number, f"regions[{number}]"
            inside = self._put(str(first), self._pass.encoded(clip, region.prompt), text=f"{field}.prompt")
            if (region.start, region.end) != (0, 1):
                ranged = WithRange(conditioning=inside, start=region.start, end=region.end)
                inside = self._put(str(first + 3), ranged, start=f"{field}.start", end=f"{field}.end")
            inside = self._within(region, inside, str(first + 1), field)
            prompt = self._put(str(first + 2), CombineConditioning(first=prompt, second=inside))
        return prompt

    def _within(self, region: Region, prompt: Conditioning, id: str, field: str) -> Conditioning:
        """``prompt`` for the rectangle of ``region``, which is larger in a second pass, or for what its mask shows."""
        if region.mask is not None:
            mask = self._put(str(int(id) + 3), LoadMask(name=region.mask, channel="red"), name=f"{field}.mask")
            masked = WithMask(conditioning=prompt, mask=mask, strength=region.strength)
            return self._put(id, masked, strength=f"{field}.strength")
        sides = self._request.width, self._request.height
        size = self._size
        area = {
            name: round(getattr(region, name) * size[axis] / sides[axis] / PIXELS_PER_CELL) * PIXELS_PER_CELL
            for axis, names in enumerate((("x", "width"), ("y", "height")))
            for name in names
        }
        names = {name: f"{field}.{name}" for name in (*area, "strength")}
        return self._put(id, WithArea(conditioning=prompt, **area, strength=region.strength), 0, **names)

    def _prompt(self, id: str, clip: Clip, text: str, field: str) -> Conditioning:
        return self._put(id, self._pass.encoded(clip, text), text=self._named(field))

    def _named(self, field: str) -> str:
        """What the caller calls a parameter of the pass that is being made."""
        return f"hires.{field}" if self._hires is not None and field in self._hires.changes else field

    def _controlled(self, prompt: Conditioning, slot: int) -> Conditioning:
        """``prompt``, steered by the request's networks. ``slot`` tells prompts apart: each has a place of its own."""
        for place, control in enumerate(self._request.controls):
            id, part = _CONTROLS + _NODES_OF_PART * place, f"controls[{place}]"
            network = self._put(str(id), ControlFile(name=control.model), name=f"{part}.model")
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
            return self._put("5", _same(EmptyLatents, **size, batch_size=request.batch_size))
        if request.batch_size > MAX_REPEATS:
            raise BadRequest("batch_size", request.batch_size, f"at most {MAX_REPEATS} where there is an image")
        image = self._fitted(12, request.image, "image")
        if request.mask is None:
            return self._repeated(self._put("13", Encode(pictures=image, vae=vae)))
        mask = self._put("17", ChannelMask(pictures=self._fitted(15, request.mask, "mask"), channel="red"))
        if request.mask_mode == "grey":
            return self._repeated(self._put("18", EncodeForInpaint(pictures=image, vae=vae, mask=mask)))
        if request.mask_mode == "inpainting":
            hole = self._put("23", EncodeForInpaint(pictures=image, vae=vae, mask=mask, grow_mask_by=0))
            self._hole = hole, mask
        latents = self._repeated(self._put("13", Encode(pictures=image, vae=vae)))
        return self._put("18", WithNoiseMask(latents=latents, mask=mask))

    def _repeated(self, latents: Latents) -> Latents:
        if self._request.batch_size == 1:
            return latents
        repeated = RepeatLatents(latents=latents, amount=self._request.batch_size)
        return self._put("14", repeated, amount="batch_size")

    def _shown(self, prompt: Conditioning, slot: int) -> Conditioning:
        """``prompt``, with the picture without its hole where an inpainting checkpoint is to see it."""
        if self._hole is None:
            return prompt
        latents, mask = self._hole
        return self._put(str(24 + slot), WithMaskedPicture(conditioning=prompt, latents=latents, mask=mask))

    def _fitted(self, id: int, name: str, field: str) -> Pictures:
        """A picture that was handed in, scaled to the request's size and cropped to the centre."""
        picture = self._put(str(id), LoadPicture(name=name), name=field)
        size = {"width": self._request.width, "height": self._request.height}
        fitted = ResizePictures(pictures=picture, method="lanczos", crop="center", **size)
        return self._put(str(id + 7), fitted)

    def _sample(self, guider: CfgGuider | ComposedGuider, latents: Latents, denoise: float) -> Sample:
        request = self._request
        if (own := self._a1111) is not None:
            return self._named_sample(own.sampled(self._refined(own.padded(guider), own), guider.model, latents))
        assert request.seed is not None
        values = {name: getattr(request, name) for name in ("sampler", "scheduler", "steps")}
        sigmas = _same(ScheduledSigmas, model=guider.model, denoise=denoise, **values)
        self.fields |= {(sigmas, name): self._named(name) for name in values}
        return Sample(
            guider=guider,
            sampler=_same(Sampler, name=request.sampler),
            sigmas=sigmas,
            noise=RandomNoise(seed=request.seed, start_noise=request.start_noise, step_noise=request.step_noise),
            latents=latents,
        )

    def _refined(self, guider: Guider, own: A1111Pass) -> Guider:
        """``guider``, from which one takes over that is the same but for its checkpoint, if there is a refiner."""
        if own.refiner is None:
            return guider
        return own.refined(guider, self._by_refiner(guider, own.refiner), self._pass.evaluations)

    def _by_refiner(self, node: N, refiner: Checkpoint | None) -> N:
        """``node``, made with ``refiner`` in place of the request's checkpoint; with None as it is."""
        if refiner is None:
            return node
        refiner = self._put("32", refiner, name="a1111.refiner")
        return substituted(node, {Checkpoint(name=self._request.model): refiner})

    def _named_sample(self, sample: Sample) -> Sample:
        """A sampling of AUTOMATIC1111's, whose nodes' fields have the names of the request's, about."""
        for node in in_order(sample.sigmas, sample.noise, sample.sampler):
            if isinstance(node, Sigmas | Sampler | PictureNoise):
                names = {name: name if name in ("steps", "seed") else f"a1111.{name}" for name, _ in node.fields()}
                self.fields |= {(node, name): self._named(named) for name, named in names.items()}
        return sample

    def _second_pass(self, hires: Hires, model: Model, clip: Clip, vae: Vae, first: Sample) -> Sample:
        request = self._request
        self._hires = hires
        larger = self._larger(hires, vae, first)
        self._request = self._second_request(hires)
        if hires.prompt is not None and request.a1111 is not None:
            model, clip, _ = self._networks(_LORAS_OF_SECOND, "98")
        self._pass = pass_of(self._request, self._request.sampler, self._request.steps, before=self._pass)
        sample = self._put("91", self._sample(self._guider(self._read(model, vae), clip), larger, hires.denoise))
        self._request = request
        return sample

    def _second_request(self, hires: Hires) -> GenerationRequest:
        """The request with what is another in the second pass. AUTOMATIC1111's LoRAs are those of each pass's prompt;
        ComfyUI's are the same in both."""
        request = self._request
        if request.a1111 is not None:
            return dataclasses.replace(request, **hires.changes, a1111=part_of_second(request.a1111, hires))
        if hires.prompt is not None and request.prompt_syntax == "a1111" and without_tags(hires.prompt)[1]:
            raise BadRequest("hires.prompt", hires.prompt, "a prompt without tags of LoRAs: both passes have the same")
        return dataclasses.replace(request, **hires.changes)

    def _larger(self, hires: Hires, vae: Vae, first: Sample) -> Latents:
        """What the second pass begins from: latents that are scaled, or pictures that a model has enlarged."""
        request = self._request
        if request.a1111 is not None:
            enlarging, size = enlarging_of(request.a1111, hires), size_of_second(request, hires)
            return self._put("90", enlarging.start(first, request.width, request.height, size, vae, vae))
        names = dict.fromkeys(("width", "height"), "hires.scale") if hires.width is None else _SIDES_OF_HIRES
        width, height = hires.size(self._request.width, self._request.height)
        if hires.upscaler is not None:
            upscaler = self._put("92", UpscalerFile(name=hires.upscaler), name="hires.upscaler")
            decoded = self._put("93", Decode(latents=first, vae=vae))
            enlarged = self._put("94", Upscale(upscaler=upscaler, pictures=decoded))
            fitted = ResizePictures(pictures=enlarged, method="lanczos", width=width, height=height)
            return self._put("90", Encode(pictures=self._put("95", fitted, 0, **names), vae=vae))
        if hires.width is None:
            factor = 2.0 if hires.scale is None else hires.scale
            scaled = ScaleLatents(latents=first, method=hires.method, factor=factor)
            return self._put("90", scaled, factor="hires.scale", method="hires.method")
        resized = ResizeLatents(latents=first, method=hires.method, width=width, height=height)
        return self._put("90", resized, 0, method="hires.method", **names)

    def _upscaled(self, upscaling: Upscaling, pictures: Pictures) -> Pictures:
        upscaler = self._put("80", UpscalerFile(name=upscaling.model), name="upscale.model")
        enlarged = self._put("81", Upscale(upscaler=upscaler, pictures=pictures))
        if upscaling.scale is None:
            return enlarged
        made = self._size
        width, height = (max(1, round(side * upscaling.scale)) for side in made)
        fitted = ResizePictures(pictures=enlarged, method="lanczos", width=width, height=height)
        return self._put("82", fitted, width="upscale.scale", height="upscale.scale")
