"""Calls whose pictures AUTOMATIC1111 has made: latents and pixels are met, to rounding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from engine import Engine, EngineConfig, GenerationRequest, Workflow
from engine.pictures.inputs import read_input
from engine.running.functions import Bench, function_of
from engine.sampling.levels import STABLE_DIFFUSION_1
from engine.tensors.kinds import FileKind
from engine.workflow.from_request import PICTURES
from engine.workflow.node import in_order
from engine.workflow.pictures import Decode
from engine.workflow.sampling import Sample
from server.backends.checkpoints import FileInfo
from server.dialects.sdapi.body import Generation, Img2Img, Txt2Img
from server.dialects.sdapi.options import Chosen, Options
from server.dialects.sdapi.plan import HandedIn, Plan, plan_of
from server.dialects.sdapi.refusing import refuse
from server.inputs.input import Input
from server.problems import Problem
from tests.pack import MEMORY
from tests.pack_a1111 import CHECKPOINT, A1111Case, cases_of
from tests.server.dialects.sdapi.plans import Stocked

EXACT = 1e-6
"""The relative error of what is computed without a network."""

LATENTS = 1e-4
"""The relative error of latents that is rounding and no other formula."""

ADAPTIVE = 1e-3
"""That of DPM adaptive's hundred evaluations."""

_REFUSED = ("mask",)
"""What calls cannot ask for yet as AUTOMATIC1111 has it."""

MISSING = {
    "i2i_resize_2": "the edges that fill a picture are others",
    "i2i_colour": "colours are not corrected",
    "nine_txt2img": "what a model with nine channels sees where there is no picture is another",
    "tiling": "convolutions do not wrap around",
    "downcast_ddim": "DDIM does not compute in half precision",
}
"""The cases that are not met yet, and why."""

_MAGNIFIED = {
    *(f"sampler_dpm_adaptive_{each}" for each in ("automatic", "exponential", "polyexponential", "simple", "normal")),
    *("sampler_dpm_adaptive_ddim", "eta_dpm_adaptive_0_5", "sampler_dpmpp_sde_align_your_steps", "pic_sched_adaptive"),
}
"""Weights restore a mean that is next to nothing, and make of the last bits of features an error of 1e-5, by which DPM
adaptive chooses other steps: within 1e-6 up to the first of them, 4e-2 at the end."""

_MAGNIFIED_BOUND = 6e-2

_EACH = 12
"""``make test`` runs one of this many cases, and one of each feature; CI runs all."""


@pytest.fixture(scope="module")
def engine(pack_folder: Path) -> Iterator[Engine]:
    config = EngineConfig(
        checkpoint=CHECKPOINT,
        models_folders=(pack_folder,),
        device="cpu",
        dtype="float32",
        text_encoder="float32",
        memory_budget=MEMORY,
    )
    with Engine(config) as engine:
        yield engine


def is_refused(case: A1111Case) -> bool:
    return any(case.payload.get(name) is not None for name in _REFUSED)


def _parameters() -> Iterator[Any]:
    features: set[str] = set()
    for number, case in enumerate(cases_of("txt2img", "img2img")):
        if is_refused(case):
            continue
        marks = [] if number % _EACH == 0 or case.feature not in features else [pytest.mark.slow]
        if case.name in MISSING:
            marks = [pytest.mark.xfail(reason=MISSING[case.name], strict=True), pytest.mark.slow]
        elif case.name in _MAGNIFIED:
            marks = [pytest.mark.slow]
        features.add(case.feature)
        yield pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize("case", list(_parameters()))
def test_the_recorded_picture_is_made(engine: Engine, case: A1111Case, pack_folder: Path) -> None:
    plan = plan_for(case, pack_folder)
    found, images = [], []
    for wanted in plan.wanted:
        workflow = wanted.workflow() if isinstance(wanted, GenerationRequest) else wanted
        decode = [node for node in in_order(*workflow.outputs.values()) if isinstance(node, Decode)][-1]
        graph = Workflow(outputs=workflow.outputs, places={**workflow.places, ("latents", 0): decode.latents})
        result = engine.generate(graph, inputs=pack_folder / "input", keep=[("latents", 0)])
        found.append(result.kept["latents", 0])
        images += [torch.frombuffer(bytearray(each.tobytes()), dtype=torch.uint8) for each in result.outputs[PICTURES]]
    reference = case.record("latents")
    bound = ADAPTIVE if "adaptive" in case.payload.get("sampler_name", "") else LATENTS
    if case.name in _MAGNIFIED:
        assert _error(torch.cat(found), reference) <= _MAGNIFIED_BOUND
        return
    assert _error(torch.cat(found), reference) <= bound
    pixels = torch.stack(images).int() - case.record("image").flatten(1).int()
    assert int(pixels.abs().max()) <= 1


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name) for case in cases_of("txt2img", "img2img") if is_refused(case)]
)
def test_what_is_not_builtis_refused_by_name(case: A1111Case) -> None:
    body_of: type[Generation] = Img2Img if case.kind == "img2img" else Txt2Img
    body = body_of(**{name: value for name, value in case.payload.items() if name != "checkpoint"})
    with pytest.raises(Problem, match="mask"):
        refuse(body, "a1111")
    refuse(body, "comfyui")


class Packed(Stocked):
    """An instant backend with the checkpoints and the LoRAs of the recorded cases."""

    def __init__(self, folder: Path) -> None:
        super().__init__(names=(CHECKPOINT, "parity64_b"))
        self._loras = [FileInfo(name=file.name, size=1) for file in (folder / "loras").iterdir()]

    def files(self, kind: FileKind) -> list[FileInfo]:
        return self._loras if kind == "loras" else super().files(kind)


def plan_for(case: A1111Case, pack_folder: Path) -> Plan:
    """Return the plan of a case's call, whose inputs have the names of their files."""
    body_of: type[Generation] = Img2Img if case.kind == "img2img" else Txt2Img
    body = body_of(**{name: value for name, value in case.payload.items() if name != "checkpoint"})
    backend = Packed(pack_folder)
    override = Options(backend, "a1111").read(case.settings)
    defaults = Chosen(model=case.payload.get("checkpoint", CHECKPOINT), clip_skip=1)
    images = tuple(_input(pack_folder, name) for name in case.payload.get("init_images", ()))
    mask = case.payload.get("mask")
    handed = HandedIn(
        images=images,
        mask=None if mask is None else _input(pack_folder, mask),
        mask_file=b"" if mask is None else (pack_folder / "input" / mask).read_bytes(),
    )
    return plan_of(body, handed, override=override, defaults=defaults, backend=backend, most=64, program="a1111")


def _input(folder: Path, name: str) -> Input:
    data = (folder / "input" / name).read_bytes()
    return Input(id=name, file="x", bytes=len(data), size=read_input("", [{"": data}]).size)


def _error(found: Tensor, reference: Tensor) -> float:
    assert found.shape == reference.shape
    return float((found - reference).norm() / reference.norm())


def levels_for(case: A1111Case, steps: int) -> Tensor:
    """Return the levels that a call of so many steps is sampled on."""
    body = Txt2Img(**{**case.payload, "steps": steps, "prompt": "a cat"})
    override = Options(Stocked(), "a1111").read(case.settings)
    plan = plan_of(body, HandedIn(), override=override, defaults=Chosen(), backend=Stocked(), most=1, program="a1111")
    (sample,) = (node for node in plan.first.with_seed().workflow().nodes if isinstance(node, Sample))
    made = function_of(sample.sigmas)(sample.sigmas, cast(Bench, None))  # no schedule looks at what was made before
    assert isinstance(made, Tensor)
    return made


_UNKNOWN_NAME = "sigmas_name_nonsense"
"""AUTOMATIC1111 takes the name of a sampler that it does not have for DPM++ 2M; here it is refused."""


@pytest.mark.parametrize("case", cases_of("sigmas"), ids=lambda case: case.name)
def test_the_recorded_levels_are_sampled_on(case: A1111Case) -> None:
    for name in case.records:
        kind, _, steps = name.partition("/")
        reference = case.levels(kind, int(steps)).float()
        if case.name == _UNKNOWN_NAME:
            with pytest.raises(Problem, match="Nonsense"):
                levels_for(case, int(steps))
            continue
        found = levels_for(case, int(steps))
        if case.payload["sampler_name"] == "UniPC":  # which has levels of its own, as many as there are timesteps
            assert len(found) == len(reference) + 1
            continue
        if kind == "timesteps":
            reference = STABLE_DIFFUSION_1.sigmas[reference.long().flip(0)]
        assert _error(found, reference) <= EXACT, steps
