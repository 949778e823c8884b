"""The recorded results of ComfyUI graphs in ``tests/parity2``: one ``Case`` for each graph, and the files they name."""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from engine.workflow.workflow import Place

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(__file__).parent / "parity2"

MEMORY = 3 << 30
"""What an engine on these files may hold, in bytes. Several are open at a time."""


def make_files(folder: Path) -> Path:
    """Write the models and pictures that the graphs name into ``folder``, 1.9 GB, once: several processes may ask for
    it at the same time. Return the folder, which has ComfyUI's layout, with the pictures in ``input``."""
    done = folder / "done"
    folder.mkdir(exist_ok=True, parents=True)
    with FileLock(folder / "lock"):
        if not done.exists():
            subprocess.run([sys.executable, FOLDER / "make_files.py", folder], check=True, stdout=subprocess.DEVNULL)
            done.touch()
    return folder


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
    """``latents``, ``image``, ``conditioning``, or ``positive`` and ``negative`` → the node and the output that were
    recorded."""
    probes: Mapping[str, Place]
    """Label → the node and the output that were recorded on the way."""
    floor: float = 0.0
    """How far the recorded ComfyUI itself moves, relatively, with another order of summation."""

    @property
    def tolerance(self) -> float:
        """The relative error of the latents that is rounding and no other formula."""
        return max(1e-4, 10 * self.floor)

    def record(self, kind: str) -> Tensor:
        """What was recorded: ``latents`` float32 (B, 4, h, w), or ``image`` uint8 (B, H, W, 3)."""
        return _tensors(kind)[self.name]

    def conditioning(self, kind: str) -> list[Tensor]:
        """What was recorded of each member of a conditioning: (1, tokens, width) float32."""
        tensors, whole = _tensors("conditioning"), self.name if kind == "conditioning" else f"{self.name}/{kind}"
        members = itertools.takewhile(tensors.__contains__, (f"{whole}/{i}" for i in itertools.count()))
        return [tensors[whole]] if whole in tensors else [tensors[name] for name in members]

    @property
    def as_shipped(self) -> Tensor | None:
        """The latents that ComfyUI makes without any flag, its text encoder in float16; None: not recorded."""
        return _tensors("latents_as_shipped").get(self.name)

    def probe(self, label: str) -> Tensor:
        """What was recorded on the way, float32; what was recorded as bytes is 0 … 1."""
        probe = _tensors("probes")[f"{self.name}/{label}"]
        return probe if probe.is_floating_point() else probe.float() / 255


@functools.cache
def _tensors(kind: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(FOLDER / f"{kind}.safetensors")


def _places(entries: Mapping[str, list[Any]]) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for name, place in entries.items():
        if isinstance(place[0], list):  # of a positive and a negative conditioning
            places |= {sign: (id, slot) for sign, (id, slot) in zip(("positive", "negative"), place, strict=True)}
        else:
            places[name] = (place[0], place[1])
    return places


def _cases() -> list[Case]:
    entries = json.loads((FOLDER / "cases.json").read_text())
    return [
        Case(**{**entry, "records": _places(entry["records"]), "probes": _places(entry["probes"])}) for entry in entries
    ]


CASES = {case.name: case for case in _cases()}
"""The cases by name."""
