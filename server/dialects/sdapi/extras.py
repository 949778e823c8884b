"""``extra-single-image`` and ``extra-batch-images``: pictures enlarged without sampling, one task each."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from engine import Workflow
from engine.workflow.editing import CompositePictures
from engine.workflow.from_request import PICTURES
from engine.workflow.masks import SolidMask
from engine.workflow.pictures import SavePictures
from server.backends.checkpoints import FileInfo
from server.dialects.sdapi.answer import json_response
from server.dialects.sdapi.handing_in import HandingIn
from server.dialects.sdapi.pictures import CROP, Sized, picture_of
from server.dialects.sdapi.places import in_this_dialects_words, placed
from server.dialects.sdapi.upscalers import enlarged, upscaler_named
from server.dialects.shared.bodies import body_as, json_body
from server.dialects.shared.waiting import ensure_succeeded, read_picture
from server.inputs.input import Input
from server.job import NewJob
from server.problems import unsupported
from server.web.routing import direct
from server.web.services import Services


class Extras(BaseModel):
    """What both calls have. As in AUTOMATIC1111, null stands for the default."""

    model_config = ConfigDict(extra="allow")

    resize_mode: int | None = Field(0, description="0: by upscaling_resize; 1: to upscaling_resize_w × _h", ge=0, le=1)
    upscaling_resize: float | None = Field(2, description="by which both sides grow", gt=0, le=8)
    upscaling_resize_w: int | None = Field(512, description="width in pixels", ge=1, le=16384)
    upscaling_resize_h: int | None = Field(512, description="height in pixels", ge=1, le=16384)
    upscaling_crop: bool | None = Field(True, description="whether the picture is cropped to that size")
    upscaler_1: str | None = Field("None", description="a name of GET upscalers")
    upscaler_2: str | None = Field("None", description="a second one, which is mixed in")
    extras_upscaler_2_visibility: float | None = Field(0, description="the share of the second one", ge=0, le=1)
    gfpgan_visibility: float | None = Field(0, description="must be 0")
    codeformer_visibility: float | None = Field(0, description="must be 0")


class ExtraSingle(Extras):
    """The body of ``POST extra-single-image``."""

    image: str = Field(description="a picture's file in base64, also as a data: URL")


class BatchPicture(BaseModel):
    """A picture of ``POST extra-batch-images``."""

    data: str = Field(description="a picture's file in base64, also as a data: URL")
    name: str = Field("", description="without effect")


class ExtraBatch(Extras):
    """The body of ``POST extra-batch-images``."""

    images: list[BatchPicture] = Field(description="the pictures", min_length=1, alias="imageList")


def add_extras(router: APIRouter, services: Services) -> None:
    """Add the routes."""

    described = json_body(ExtraSingle.model_json_schema())

    @direct(router, "POST", "/sdapi/v1/extra-single-image", summary="Enlarge a picture", openapi_extra=described)
    async def single(http: Request) -> Response:
        body = await body_as(ExtraSingle, http)
        (picture,) = await _made(services, http, body, [("image", body.image)])
        return json_response({"html_info": "", "image": picture})

    described = json_body(ExtraBatch.model_json_schema())

    @direct(router, "POST", "/sdapi/v1/extra-batch-images", summary="Enlarge pictures", openapi_extra=described)
    async def batch(http: Request) -> Response:
        body = await body_as(ExtraBatch, http)
        named = [(f"imageList[{number}].data", each.data) for number, each in enumerate(body.images)]
        return json_response({"html_info": "", "images": await _made(services, http, body, named)})


async def _made(services: Services, http: Request, body: Extras, sent: Sequence[tuple[str, str]]) -> list[str]:
    """Return the enlarged pictures in base64. ``sent`` are the pictures as text, with their places."""
    for name in ("gfpgan_visibility", "codeformer_visibility"):
        if getattr(body, name):
            raise unsupported(name, getattr(body, name), "0: there are no restorers of faces")
    handing_in = HandingIn(services, services.client_of(http))
    try:
        files = await asyncio.to_thread(services.backend.files, "upscale_models")
        kept = [await handing_in.keep(text, field) for field, text in sent]
        new = NewJob(
            wanted=tuple(placed(workflow_of(each, body, files)) for each in kept),
            dialect="sdapi",
            client=services.client_of(http),
            inputs={each.id: each for each in kept},
        )
        with in_this_dialects_words():
            job = await services.jobs.accept(new)
    except BaseException:
        await handing_in.let_go()
        raise
    job = await services.wait_connected(http, job)
    ensure_succeeded(job)
    pictures = [await read_picture(services, picture.name) for picture in job.pictures]
    return [base64.b64encode(picture).decode() for picture in pictures]


def workflow_of(input: Input, body: Extras, files: Sequence[FileInfo]) -> Workflow:
    """Return the workflow that enlarges a picture. Raises ``Problem`` that names the field."""
    names = ("upscaler_1", "upscaler_2")
    first, second = (upscaler_named(getattr(body, name) or "None", files, name) for name in names)
    picture, share = picture_of(input), body.extras_upscaler_2_visibility or 0
    made = _enlarged(picture, body, first)
    if share and second != "None":
        other = _enlarged(picture, body, second)
        mask = SolidMask(value=share, width=made.width, height=made.height)
        mixed = CompositePictures(below=made.pictures, above=other.pictures, mask=mask)
        made = Sized(pictures=mixed, width=made.width, height=made.height)
    return Workflow(outputs={PICTURES: SavePictures(pictures=made.pictures)})


def _enlarged(picture: Sized, body: Extras, upscaler: str) -> Sized:
    if body.resize_mode != 1:
        factor = 2 if body.upscaling_resize is None else body.upscaling_resize
        wide, high = (max(1, int(side * factor)) for side in (picture.width, picture.height))
        return enlarged(picture, upscaler, wide, high)
    width, height = body.upscaling_resize_w or 512, body.upscaling_resize_h or 512
    factor = max(width / picture.width, height / picture.height)
    wide, high = max(width, round(picture.width * factor)), max(height, round(picture.height * factor))
    covering = enlarged(picture, upscaler, wide, high)
    return covering.fitted(width, height, CROP) if body.upscaling_crop is not False else covering
