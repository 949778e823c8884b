"""What a call asks for, as a whole → the workflows of its pictures, and their infotexts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine import GenerationRequest, Workflow, __version__
from engine.formats.infotext import infotext
from engine.workflow.from_request import PICTURES
from engine.workflow.pictures import Decode, Pictures, SavePictures
from server.backends.protocol import Backend
from server.dialects.sdapi.body import Generation, Img2Img, Txt2Img
from server.dialects.sdapi.controlnet import Unit, notes_of_units
from server.dialects.sdapi.hires import SecondPass, second_pass
from server.dialects.sdapi.img2img import Canvas, canvas_of, notes_of
from server.dialects.sdapi.masking import Box, grown_to_aspect, masked_part
from server.dialects.sdapi.networks import without_missing
from server.dialects.sdapi.options import Chosen
from server.dialects.sdapi.passes import Pass
from server.dialects.sdapi.pictures import picture_of
from server.dialects.sdapi.refining import Refiner, refined, refiner_of
from server.dialects.sdapi.request import requests_of
from server.inputs.input import Input


@dataclass(frozen=True, kw_only=True)
class HandedIn:
    """The pictures of a call."""

    images: tuple[Input, ...] = ()
    mask: Input | None = None
    mask_file: bytes = b""
    """The mask's file, where the part that it covers has to be known."""
    units: tuple[Unit, ...] = ()

    @property
    def inputs(self) -> tuple[Input, ...]:
        """All of them."""
        of_units = [each for unit in self.units for each in (unit.image, unit.mask) if each is not None]
        return (*self.images, *([] if self.mask is None else [self.mask]), *of_units)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a call asks for."""

    requests: tuple[GenerationRequest, ...]
    """The first pass of each picture."""
    wanted: tuple[GenerationRequest | Workflow, ...]
    """What is carried out for each picture."""
    described: tuple[GenerationRequest, ...]
    """What the pictures' infotexts say, beside ``notes``: the first pass, and the second one where there is one."""
    inputs: Mapping[str, Input] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    """What the pictures' infotexts say beside that; empty where ``requests`` say all."""

    @property
    def first(self) -> GenerationRequest:
        """The first picture's first pass."""
        return self.requests[0]


def plan_of(
    body: Generation,
    handed: HandedIn,
    *,
    override: Chosen,
    defaults: Chosen,
    backend: Backend,
    most: int,
    program: str = "comfyui",
) -> Plan:
    """Return the plan of a call. It may take its time: a prompt may be long, a mask large.

    ``program``: whose picture is made, ``a1111`` or ``comfyui``. Raises ``Problem``, ``BadRequest`` and
    ``UnknownCheckpoint`` that name the call's field.
    """
    if program == "a1111":
        body = without_missing(body, backend)
    requests = requests_of(body, override=override, defaults=defaults, most=most, program=program)
    refiner = refiner_of(body, requests[0], backend)
    if refiner is not None or not body.infotext:  # else the text says whether there is one
        requests = tuple(refined(each, refiner) for each in requests)
    default = next((each.name for each in backend.models() if each.default), None)
    named = tuple(dataclasses.replace(each, model=each.model or default) for each in requests)
    maker = _Maker(body, handed, named, backend, refiner)
    if maker.plain:
        return Plan(requests=requests, wanted=requests, described=requests)
    return Plan(
        requests=named,
        wanted=tuple(maker.workflow(request, number) for number, request in enumerate(named)),
        described=tuple(maker.described(request) for request in named),
        inputs={each.id: each for each in handed.inputs},
        notes=maker.notes,
    )


def infotexts_of(plan: Plan, backend: Backend) -> list[str]:
    """Return the infotext of each picture whose workflow is more than its request."""
    info = next((each for each in backend.models() if each.name == plan.first.model or each.default), None)
    name, digest = ("", None) if info is None else (info.name, info.short_hash)
    return [
        infotext(each, model_name=name, model_hash=digest, version=__version__, more=plan.notes)
        for each in plan.described
    ]


class _Maker:
    """Makes the workflows of a call's pictures, which differ in their seeds and in the picture that they start from."""

    def __init__(
        self,
        body: Generation,
        handed: HandedIn,
        requests: Sequence[GenerationRequest],
        backend: Backend,
        refiner: Refiner | None,
    ) -> None:
        self._body, first = body, requests[0]
        self._handed = handed
        self._seeds = [each.seed or 0 for each in requests[: body.batch_size or 1]]
        """Those of the latent noise that masked parts start from: the first batch's, in all batches."""
        self._hires: SecondPass | None = None
        self._refiner = refiner if first.a1111 is None else None  # AUTOMATIC1111's is a part of the request
        self._boxes: dict[tuple[int, int], Box | None] = {}
        self.notes: dict[str, str] = {}
        """What infotexts say of it."""
        if isinstance(body, Img2Img):
            masked = handed.mask is not None
            part = masked and body.inpaint_full_res is not False
            self.notes |= notes_of(body, masked=masked, part=part)
        elif isinstance(body, Txt2Img) and body.enable_hr:
            self._hires, notes = second_pass(body, first, backend.models(), backend.files("upscale_models"))
            self.notes |= notes
        if self._refiner is not None:
            self.notes |= self._refiner.notes
        self.notes |= notes_of_units(handed.units)

    @property
    def plain(self) -> bool:
        """Whether the requests alone say all there is to say."""
        return not (self._handed.images or self._handed.units or self._hires or self._refiner)

    def described(self, request: GenerationRequest) -> GenerationRequest:
        """Return the request of a picture with its second pass."""
        return request if self._hires is None else self._hires.described(request)

    def workflow(self, request: GenerationRequest, number: int) -> Workflow:
        """Return the workflow of picture ``number``."""
        canvas = self._canvas(request, number)
        last = Pass.of(request if self._hires is None else refined(request, None))
        if canvas is not None:
            last = canvas.painted(last)
        last = self._steered(last, request, canvas, second=False)
        if self._hires is not None:
            second = self._hires.of(request)
            last = self._steered(self._hires.behind(last, second), second, canvas, second=True)
            request = second
        if self._refiner is not None:
            refining = Pass.of(dataclasses.replace(request, model=self._refiner.model))
            steered = self._steered(refining, request, canvas, second=self._hires is not None)
            last = last.ended_by(steered, self._refiner.share)
        pictures: Pictures = Decode(latents=last.latents, vae=last.vae)
        if canvas is not None:
            pictures = canvas.finished(pictures)
        return Workflow(outputs={PICTURES: SavePictures(pictures=pictures)})

    def _canvas(self, request: GenerationRequest, number: int) -> Canvas | None:
        body, handed = self._body, self._handed
        if not isinstance(body, Img2Img):
            return None
        image = handed.images[number % len(handed.images)]
        mask, box = handed.mask, None
        if mask is not None and body.inpaint_full_res is not False:
            box = self._box(body, mask, image, (request.width, request.height))
            mask = None if box is None else mask  # as in AUTOMATIC1111, an empty mask is none
        return canvas_of(body, image, mask, box, request, self._seeds[number % len(self._seeds)])

    def _box(self, body: Img2Img, mask: Input, image: Input, shape: tuple[int, int]) -> Box | None:
        size = image.size.width, image.size.height
        if size not in self._boxes:
            padding = body.inpaint_full_res_padding or 0
            found = masked_part(self._handed.mask_file, mask, body, *size, padding)
            self._boxes[size] = None if found is None else grown_to_aspect(found, shape, size)
        return self._boxes[size]

    def _steered(self, made: Pass, request: GenerationRequest, canvas: Canvas | None, *, second: bool) -> Pass:
        for unit in self._handed.units:
            if unit.steers(second=second, only_pass=self._hires is None):
                source = canvas.original if canvas is not None else None
                picture = picture_of(unit.image) if unit.image is not None else source
                assert picture is not None
                made = unit.steered(made, picture, canvas, request.width, request.height)
        return made
