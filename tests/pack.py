"""The recorded results of ComfyUI graphs in ``tests/parity2``: one ``Case`` for each graph."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.workflow.workflow import Place

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(__file__).parent / "parity2"

CHECKPOINT = "parity64.safetensors"
"""The file that the graphs name, which ``tests/parity/make_checkpoint.py`` makes."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A graph, and what ComfyUI made of it."""

    name: str
    feature: str
    """What the case is about: ``samplers``, ``custom_sampling``, ``ksampler_advanced``, …"""
    about: str
    graph: Mapping[str, Any]
    """The graph in API form."""
    records: Mapping[str, Place]
    """``latents``, ``image``, ``conditioning`` → the node and the output that were recorded."""
    probes: Mapping[str, Place]
    """Label → the node and the output that were recorded on the way."""
    floor: float
    """How far the recorded ComfyUI itself moves, relatively, with another order of summation."""

    @property
    def tolerance(self) -> float:
        """The relative error of the latents that is rounding and no other formula."""
        return max(1e-4, 10 * self.floor)

    def record(self, kind: str) -> Tensor:
        """What was recorded: ``latents`` float32 (B, 4, h, w), ``image`` uint8 (B, H, W, 3), or ``conditioning``."""
        return _tensors(kind)[self.name]

    def probe(self, label: str) -> Tensor:
        """What was recorded on the way, float32."""
        return _tensors("probes")[f"{self.name}/{label}"]


@functools.cache
def _tensors(kind: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(FOLDER / f"{kind}.safetensors")


def _places(entries: Mapping[str, list[Any]]) -> dict[str, Place]:
    return {name: (id, slot) for name, (id, slot) in entries.items()}


def _cases() -> list[Case]:
    entries = json.loads((FOLDER / "cases.json").read_text())
    return [
        Case(**{**entry, "records": _places(entry["records"]), "probes": _places(entry["probes"])}) for entry in entries
    ]


CASES = {case.name: case for case in _cases()}
"""The cases by name."""
