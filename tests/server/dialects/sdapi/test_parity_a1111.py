"""Calls whose pictures AUTOMATIC1111 has made: latents and pixels are met, to rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from engine import Engine, EngineConfig, GenerationRequest, Workflow
from engine.pictures.decoder import SCALE
from engine.pictures.inputs import read_input
from engine.running.functions import Bench, LatentBatch, function_of
from engine.sampling.levels import STABLE_DIFFUSION_1
from engine.tensors.kinds import FileKind
from engine.workflow.a1111 import PictureNoise
from engine.workflow.editing import PastedUnder
from engine.workflow.encoding import WithKeptLatents
from engine.workflow.from_request import PICTURES
from engine.workflow.node import Node, in_order
from engine.workflow.pictures import Decode
from engine.workflow.sampling import Sample
from server.backends.checkpoints import FileInfo
from server.dialects.sdapi.body import Generation, Img2Img, Txt2Img
from server.dialects.sdapi.options import Chosen, Options
from server.dialects.sdapi.plan import HandedIn, Plan, plan_of
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

MISSING = {
    "i2i_colour": "colours are not corrected",
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

_BLENDED = {"i2i_alpha"}
"""A picture that is laid on white where it is transparent: here in floating point, there in 8 bits, so that what is
encoded differs by 3e-3."""

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


def _parameters() -> Iterator[Any]:
    features: set[str] = set()
    for number, case in enumerate(cases_of("txt2img", "img2img")):
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
    for number, wanted in enumerate(plan.wanted):
        workflow = wanted.workflow() if isinstance(wanted, GenerationRequest) else wanted
        nodes = in_order(*workflow.outputs.values())
        decode = [node for node in nodes if isinstance(node, Decode)][-1]
        probed = probed_nodes(nodes) if case.kind == "img2img" and case.name not in _BLENDED else {}
        keep = {("latents", 0): decode.latents} | {(label, 0): node for label, node in probed.items()}
        graph = Workflow(outputs=workflow.outputs, places={**workflow.places, **keep})
        result = engine.generate(graph, inputs=pack_folder / "input", keep=list(keep))
        found.append(result.kept["latents", 0])
        check_probes(case, number, probed, {label: result.kept[label, 0] for label in probed}, nodes)
        images += [torch.frombuffer(bytearray(each.tobytes()), dtype=torch.uint8) for each in result.outputs[PICTURES]]
    reference = case.record("latents")
    bound = ADAPTIVE if "adaptive" in case.payload.get("sampler_name", "") else LATENTS
    if case.name in _MAGNIFIED:
        assert _error(torch.cat(found), reference) <= _MAGNIFIED_BOUND
        return
    assert _error(torch.cat(found), reference) <= bound
    pixels = torch.stack(images).int() - case.record("image").flatten(1).int()
    assert int(pixels.abs().max()) <= 1


def probed_nodes(nodes: Sequence[Node]) -> dict[str, Node]:
    """Return the nodes of what was recorded on the way of an ``img2img`` call, by its label."""
    sample = next(node for node in nodes if isinstance(node, Sample))
    assert isinstance(sample.noise, PictureNoise)
    assert sample.noise.span is not None
    probed: dict[str, Node] = {"init_latent": sample.latents, "sigmas": sample.sigmas, "span": sample.noise.span}
    if isinstance(sample.latents, WithKeptLatents):
        probed |= {"init_latent": sample.latents.latents, "latent_mask": sample.latents.mask}
    overlaid = next((node for node in nodes if isinstance(node, PastedUnder)), None)
    return probed if overlaid is None else {**probed, "overlay_mask": overlaid.mask}


def check_probes(
    case: A1111Case, number: int, probed: Mapping[str, Node], values: Mapping[str, Tensor], nodes: Sequence[Node]
) -> None:
    """Assert what picture ``number`` of an ``img2img`` call starts from, its masks, and the first x."""
    if not probed:
        return
    assert _error(values["init_latent"], case.probe("init_latent")[number : number + 1]) <= LATENTS
    if "latent_mask" in values:
        assert torch.equal(values["latent_mask"][0], case.probe("latent_mask"))
    if "overlay_mask" in values:
        assert torch.equal((values["overlay_mask"][0] * 255).round().byte(), case.probe("overlay_mask"))
    sample = next(node for node in nodes if isinstance(node, Sample))
    noise = function_of(sample.noise)(sample.noise, cast(Bench, {probed["span"]: values["span"]}))
    latents, sigma = values["init_latent"] * SCALE, values["sigmas"][0]
    x = noise.first_x(
        noise=noise.drawn(LatentBatch(values["init_latent"])), sigma=sigma, latents=latents, levels=STABLE_DIFFUSION_1
    )
    if "timesteps" in case.records:
        x = x / torch.sqrt(1 + sigma**2)
    if case.payload["sampler_name"] != "UniPC":  # begins with another level than that of its noise
        assert _error(x, case.probe("start")[number : number + 1]) <= LATENTS


class Packed(Stocked):
    """An instant backend with the checkpoints and the LoRAs of the recorded cases."""

    def __init__(self, folder: Path) -> None:
        super().__init__(names=(CHECKPOINT, "parity64_b", "parity64_inpaint"))
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
