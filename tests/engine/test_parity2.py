"""Graphs that ComfyUI has carried out on the same synthetic checkpoint: every recorded value is met, to rounding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine import Engine, EngineConfig, Workflow
from engine.workflow.workflow import Place
from tests.pack import CASES, MEMORY, Case

PROBES = 1e-5
"""The relative error of what is recorded on the way, or the case's ``floor`` where that is more: ``custom_flip``
samples backwards, which magnifies rounding, and the recorded ComfyUI itself moves by 1.3e-5 there."""

BEHIND_PIXELS = 1e-3
"""The same behind a decode or a step of 8 bits, where a rounding may become 1 of 255."""

_EACH = 12
"""``make test`` runs one of this many cases, and one of each feature; CI runs all."""


@pytest.fixture(scope="module")
def engine(pack_folder: Path) -> Iterator[Engine]:
    config = EngineConfig(
        models_folders=(pack_folder,),
        device="cpu",
        dtype="float32",
        text_encoder="float32",
        lora_names="comfyui",
        memory_budget=MEMORY,
    )
    with Engine(config) as engine:
        yield engine


def behind_pixels(case: Case, place: Place) -> bool:
    """Whether what was recorded there depends on decoded pictures, or on pictures scaled in 8 bits."""
    stack, seen = [place[0]], set()
    while stack:
        id = stack.pop()
        node = case.graph[id]
        if node["class_type"] in ("VAEDecode", "VAEDecodeTiled") or "lanczos" in node["inputs"].values():
            return True
        seen.add(id)
        links = [value for value in node["inputs"].values() if isinstance(value, list)]
        stack += [link[0] for link in links if link[0] not in seen]
    return False


def relative_error(found: Tensor, reference: Tensor) -> float:
    assert found.shape == reference.shape
    difference = float((found - reference).norm())
    return difference / float(reference.norm()) if difference else 0.0  # a conditioning may be all zeros


def difference(found: Tensor, reference: Tensor) -> int:
    """How far apart the pixels of two batches of pictures are at most; those that are found are 0 … 1."""
    pixels = (found.clamp(0, 1) * 255).to(torch.uint8).int()
    return int((pixels - reference.int()).abs().max())


def _parameters() -> Iterator[Any]:
    features: set[str] = set()
    for number, case in enumerate(CASES.values()):
        marks = [] if number % _EACH == 0 or case.feature not in features else [pytest.mark.slow]
        features.add(case.feature)
        yield pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize("case", list(_parameters()))
def test_every_recorded_value_is_met(engine: Engine, pack_folder: Path, case: Case) -> None:
    places: list[Place] = list(dict.fromkeys([*case.records.values(), *case.probes.values()]))
    kept = engine.generate(Workflow.from_comfyui(case.graph), inputs=pack_folder / "input", keep=places).kept
    for kind, place in case.records.items():
        if kind == "image":
            assert difference(kept[place], case.record(kind)) <= 1
        elif kind == "latents":
            assert relative_error(_first(kept[place]), case.record(kind)) <= case.tolerance, kind
        else:
            members = kept[place] if isinstance(kept[place], list) else [kept[place]]
            for found, reference in zip(members, case.conditioning(kind), strict=True):
                assert relative_error(found, reference) <= PROBES, kind
    for label, place in case.probes.items():
        bound = BEHIND_PIXELS if behind_pixels(case, place) else max(PROBES, case.floor)
        found = kept[place][1][:, None] if label == "noise_mask" else _first(kept[place])
        assert relative_error(found, case.probe(label)) <= bound, label


def _first(kept: Any) -> Tensor:
    """The tensor that was kept; of latents with a noise mask, the latents."""
    tensor: Tensor = kept[0] if isinstance(kept, list) else kept
    return tensor


@pytest.fixture(scope="module")
def engine_as_shipped(pack_folder: Path) -> Iterator[Engine]:
    config = EngineConfig(
        models_folders=(pack_folder,), device="cpu", dtype="float32", lora_names="comfyui", memory_budget=MEMORY
    )
    with Engine(config) as engine:
        yield engine


def _as_shipped() -> Iterator[Any]:
    cases = [case for case in CASES.values() if case.as_shipped is not None]
    for number, case in enumerate(cases):
        yield pytest.param(case, id=case.name, marks=[pytest.mark.slow] if number % _EACH else [])


@pytest.mark.parametrize("case", list(_as_shipped()))
def test_by_default_the_text_encoder_is_rounded_as_comfyui_rounds_it(
    engine_as_shipped: Engine, pack_folder: Path, case: Case
) -> None:
    latents = case.records["latents"]
    workflow = Workflow.from_comfyui(case.graph)
    kept = engine_as_shipped.generate(workflow, inputs=pack_folder / "input", keep=[latents]).kept
    assert case.as_shipped is not None
    assert relative_error(kept[latents], case.as_shipped) <= case.tolerance
    assert relative_error(kept[latents], case.record("latents")) > case.tolerance
