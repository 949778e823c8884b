"""Plans of calls, made without a server, for tests."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import Any

from PIL import Image

from engine import Workflow
from engine.pictures.inputs import read_input
from engine.tensors.kinds import FileKind
from engine.workflow.node import Node, in_order
from server.backends.checkpoints import FileInfo
from server.backends.instant import InstantBackend
from server.dialects.sdapi.body import Generation, Img2Img, Txt2Img
from server.dialects.sdapi.controlnet import unit_of, units_in
from server.dialects.sdapi.options import Chosen
from server.dialects.sdapi.plan import HandedIn, Plan, plan_of
from server.inputs.input import Input


class Stocked(InstantBackend):
    """An instant backend with files of every kind."""

    def files(self, kind: FileKind) -> list[FileInfo]:
        names = {
            "vae": ["sub/soft.safetensors"],
            "loras": ["ink.safetensors"],
            "embeddings": ["neg.pt"],
            "controlnet": ["control_canny.safetensors"],
            "upscale_models": ["4x-sharp.pth"],
        }.get(kind)
        return super().files(kind) if names is None else [FileInfo(name=name, size=10) for name in names]


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def base64_of(image: Image.Image) -> str:
    return base64.b64encode(png(image)).decode()


def input_of(image: Image.Image) -> Input:
    data = png(image)
    size = read_input("", [{"": data}]).size
    return Input(id=hashlib.sha256(data).hexdigest(), file="x", bytes=len(data), size=size)


def txt2img_plan(program: str = "comfyui", **fields: Any) -> Plan:
    return _plan(Txt2Img(width=64, height=64, seed=1, **fields), HandedIn(), program)


def img2img_plan(image: Image.Image, mask: Image.Image | None = None, **fields: Any) -> Plan:
    body = Img2Img(**{"width": 64, "height": 64, "seed": 1, "mask": None if mask is None else "…", **fields})
    kept, file = (None, b"") if mask is None else (input_of(mask), png(mask))
    return _plan(body, HandedIn(images=(input_of(image),), mask=kept, mask_file=file))


def controlled_plan(image: Image.Image, *units: dict[str, Any], **fields: Any) -> Plan:
    body = Txt2Img(width=64, height=64, seed=1, alwayson_scripts={"ControlNet": {"args": list(units)}}, **fields)
    files = Stocked().files("controlnet")
    made = [unit_of(unit, place, input_of(image), files) for place, unit in units_in(body.alwayson_scripts)]
    return _plan(body, HandedIn(units=tuple(made)))


def nodes_of(plan: Plan, kind: type[Node], number: int = 0) -> list[Any]:
    """Return the nodes of a kind in a picture's workflow, in the order in which they run."""
    wanted = plan.wanted[number]
    assert isinstance(wanted, Workflow)
    assert Workflow.from_comfyui(wanted.to_comfyui()) == wanted  # it can be kept with its job
    return [node for node in in_order(*wanted.outputs.values()) if isinstance(node, kind)]


def _plan(body: Generation, handed: HandedIn, program: str = "comfyui") -> Plan:
    defaults = Chosen(model="instant", clip_skip=1)
    return plan_of(body, handed, override=Chosen(), defaults=defaults, backend=Stocked(), most=64, program=program)
