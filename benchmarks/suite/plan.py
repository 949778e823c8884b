"""What is going to be measured, how large and for how long: the command line's wishes made fit for the machine.

Frozen; knows nothing of how things are measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.measuring.workloads import Scale

SECTIONS: Mapping[str, float] = {
    "machine": 1,
    "cold": 2,
    "precision": 3,
    "latency": 6,
    "load": 6,
    "idle": 2,
    "stages": 1,
    "memory": 1,
    "variants": 8,
    "concurrency": 8,
    "arrivals": 4,
    "soak": 3,
}
"""The sections in the order in which they run and each one's share of the time. The most telling come first, but for
precision, whose figures are no times: what has to be compiled can be so meanwhile."""

PEERS = ("stock", "best", "comfyui", "cpp")
TARGETS = ("rtx3090",)
Device = Literal["cpu", "cuda"]
Mode = Literal["default", "reduce-overhead", "max-autotune"]
"""``torch.compile``'s."""


@dataclass(frozen=True)
class Variant:
    """Settings of ``EngineConfig`` that are tried out beside the default."""

    settings: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.settings)

    @classmethod
    def of(cls, batching: Literal["exact", "fast"], rows: int) -> Variant:
        """A way of batching, with UNet calls of at most so many rows."""
        return cls((("batching", batching), ("unet_rows", rows)))


FAST = Variant.of("fast", 16)
"""Calls as large as the load: what exact batching is held against."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run of the suite."""

    device: Device
    dtypes: tuple[str, ...]
    """The precisions that are measured; the first is the one that the other sections run in."""
    checkpoint: Path
    synthetic: bool
    """Whether the checkpoint's weights are made up."""
    scale: Scale = field(default_factory=lambda: Scale(size=512, steps=20))
    minutes: float = 15.0
    sections: tuple[str, ...] = tuple(SECTIONS)
    peers: tuple[str, ...] = PEERS
    compiled: Mode = "max-autotune"
    """The mode in which the best-tuned diffusers pipeline is compiled."""
    comfyui: Path | None = None
    comfyui_python: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the engine's ``EngineConfig``, for every engine."""
    quick: bool = False
    target: str | None = None
    patience: float = 600.0
    """Seconds that opening a subject, or warming it up, may take."""
    rounds: tuple[int, int] = (3, 15)
    """The fewest and the most pictures that each subject paints alone."""
    window: tuple[float, float] = (6.0, 12.0)
    """The time for which a load is watched, in seconds: if pictures are slow, a few of them, and in sections that look
    at more than rates, up to the second number."""
    turns: int = 3
    """How many times each subject is watched under the load that all are compared under, if there is time."""
    warm: tuple[float, float] = (2.0, 60.0)
    """Seconds under load without anything being prepared that make an engine warm, and the most to wait for them."""
    clients: int = 16
    """Callers at once where the load is fixed."""
    levels: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """Callers at once, one load after the other."""
    arrival_rates: int = 4
    """How many rates of random arrivals are tried, the highest just below what the engine was seen to serve."""
    variants: tuple[Variant, ...] = (
        Variant.of("exact", 2),
        Variant.of("exact", 8),
        Variant.of("exact", 16),
        FAST,
        Variant((("compile", "off"),)),
    )
    soak: int = 1000
    """Requests after which memory must not have grown."""

    @property
    def dtype(self) -> str:
        return self.dtypes[0]

    @property
    def full_size(self) -> bool:
        """Whether the figures may be held against the targets, which are for 512×512 and 20 steps."""
        return self.scale == Scale(size=512, steps=20) and not self.quick

    def as_json(self) -> dict[str, Any]:
        """What a reader of the report needs to repeat the run."""
        return {
            "device": self.device,
            "dtypes": list(self.dtypes),
            "size": self.scale.size,
            "steps": self.scale.steps,
            "mixed_steps": list(self.scale.mixed_steps),
            "minutes": self.minutes,
            "sections": list(self.sections),
            "peers": list(self.peers),
            "compiled": self.compiled,
            "settings": {name: str(value) for name, value in self.settings.items()},
            "quick": self.quick,
            "target": self.target,
            "clients": self.clients,
            "levels": list(self.levels),
        }


def fit(plan: Plan) -> Plan:
    """``plan``, made small enough for a CPU, or as small as can be where it is to be quick."""
    if plan.quick:
        return replace(
            plan,
            scale=Scale(size=64, steps=2),
            minutes=2.0,
            clients=2,
            levels=(1, 2),
            rounds=(2, 2),
            window=(0.5, 2.0),
            turns=1,
            warm=(0.1, 2.0),
            arrival_rates=1,
            variants=(Variant.of("exact", 4), Variant.of("fast", 4)),
            soak=40,
        )
    if plan.device == "cpu":
        return replace(
            plan,
            scale=Scale(size=256, steps=4),
            clients=4,
            levels=(1, 2, 4),
            rounds=(3, 6),
            window=(4.0, 120.0),
            warm=(0.5, 10.0),
            variants=(Variant.of("exact", 2), Variant.of("exact", 4), Variant.of("fast", 8)),
            arrival_rates=3,
        )
    return plan
