"""Says what a run measures, how large and for how long, made to fit the machine.

Knows nothing of how things are measured.
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
    "features": 8,
    "stalls": 3,
    "soak": 3,
}
"""The sections in the order in which they run, and the relative time of each.

The most informative come first, except that ``precision``, which takes no times, runs while subjects are compiled."""

PEERS = ("stock", "best", "comfyui", "cpp")
TARGETS = ("rtx3090",)
Device = Literal["cpu", "cuda"]
Mode = Literal["default", "reduce-overhead", "max-autotune"]
"""Modes of ``torch.compile``."""


@dataclass(frozen=True)
class Variant:
    """Settings of ``EngineConfig`` that are measured beside the default."""

    settings: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        """Name in the report, such as ``batching fast, unet_rows 16``."""
        return ", ".join(f"{name} {value}" for name, value in self.settings)

    @classmethod
    def of(cls, batching: Literal["exact", "fast"], rows: int) -> Variant:
        """Describe a way of batching with at most ``rows`` rows in a UNet call."""
        return cls((("batching", batching), ("unet_rows", rows)))


FAST = Variant.of("fast", 16)
"""Batching with calls as large as the load fills them, which exact batching is compared with."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one run of the suite measures."""

    device: Device
    dtypes: tuple[str, ...]
    """Precisions to measure; sections that run in one precision take the first."""
    checkpoint: Path
    synthetic: bool
    """Whether the checkpoint's weights are random."""
    scale: Scale = field(default_factory=lambda: Scale(size=512, steps=20))
    minutes: float = 15.0
    sections: tuple[str, ...] = tuple(SECTIONS)
    peers: tuple[str, ...] = PEERS
    compiled: Mode = "max-autotune"
    """The mode in which the best-tuned diffusers pipeline is compiled."""
    comfyui: Path | None = None
    """A ComfyUI checkout to measure; None: none."""
    comfyui_python: str | None = None
    """The interpreter with ComfyUI's requirements; None: this one."""
    earlier: Path | None = None
    """A checkout of another version of this project, whose engine is measured too; None: none."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of ``EngineConfig``, for every engine."""
    quick: bool = False
    """Whether everything is as small as possible, to show that the suite works."""
    target: str | None = None
    """The card whose target decides the exit status."""
    patience: float = 600.0
    """Most seconds that opening a subject may take, and most that its warm-up may take."""
    rounds: tuple[int, int] = (3, 15)
    """The fewest and the most pictures that each subject makes alone."""
    window: tuple[float, float] = (6.0, 12.0)
    """Seconds for which a load is watched: at least the first number, longer if pictures are slow, and in sections that
    measure more than rates up to the second number."""
    turns: int = 3
    """How many times each subject is watched in the sections that compare subjects under load, if there is time."""
    warm: tuple[float, float] = (2.0, 60.0)
    """Seconds under load without preparing anything that make an engine warm, and most seconds to wait for that."""
    clients: int = 16
    """Number of callers in sections with a fixed load."""
    levels: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """Numbers of callers in the section ``concurrency``."""
    arrival_rates: int = 4
    """How many rates of random arrivals are measured, the highest just below what the engine was seen to serve."""
    rates: tuple[float, ...] = ()
    """Arrivals per second to measure instead; empty: as ``arrival_rates`` says."""
    variants: tuple[Variant, ...] = (
        Variant.of("exact", 2),
        Variant.of("exact", 8),
        Variant.of("exact", 16),
        FAST,
        Variant((("compile", "off"),)),
    )
    soak: int = 1000
    """Number of requests over which the growth of memory is measured."""

    @property
    def dtype(self) -> str:
        """The precision of sections that run in one."""
        return self.dtypes[0]

    @property
    def full_size(self) -> bool:
        """Whether the figures may be compared with the targets, which are for 512×512 and 20 steps."""
        return self.scale == Scale(size=512, steps=20) and not self.quick

    def as_json(self) -> dict[str, Any]:
        """Give what a reader of the report needs to repeat the run."""
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
            "rates": list(self.rates),
        }


def fit(plan: Plan) -> Plan:
    """Make ``plan`` small enough for a CPU, or as small as possible for a quick run."""
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
