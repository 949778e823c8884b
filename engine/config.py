"""How an engine runs: device, precision, batching, memory. Frozen; passed, never found.

Knows no tensors: ``engine.device`` turns the names into torch's own objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from engine.errors import BadRequest

Dtype = Literal["auto", "float32", "float16", "bfloat16"]
Batching = Literal["exact", "fast"]

MODELS_FOLDER = Path(__file__).resolve().parent.parent / "models"
"""The project's own models folder, where checkpoints are looked for by name."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Settings of one engine. Raises ``BadRequest`` for a value that is not allowed."""

    checkpoint: str | Path | None = None
    """Checkpoint for requests that name none: a name or a path. None: AWPainting v1.3 if it is there, else the
    starter checkpoint."""

    models_folder: Path = MODELS_FOLDER
    """Where checkpoints are looked for by name."""

    device: str = "auto"
    """``auto`` (CUDA if there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``."""

    dtype: Dtype = "auto"
    """Precision of the networks. ``auto``: float16 on CUDA, float32 on a CPU. The samplers' x is always float32."""

    batching: Batching = "exact"
    """``exact``: every UNet call of a request has one fixed shape, so that the same request gives the same bytes
    whatever else is running. ``fast``: calls are as large as the load fills them; equal up to rounding."""

    unet_rows: int | None = None
    """Rows of one UNet call (a picture takes two, or one where ``cfg_scale`` is 1): in ``exact`` mode always this
    many, padded; in ``fast`` mode at most this many. None: 2 in ``exact``, 16 in ``fast`` mode."""

    max_in_flight: int = 16
    """Pictures that advance together; further requests wait for a place, in the order of their arrival."""

    memory_budget: int | None = None
    """Bytes that resident checkpoints may take together. None: 75 % of what is free when the engine starts."""

    def __post_init__(self) -> None:
        for name, kinds in (("checkpoint", str | Path | None), ("models_folder", str | Path), ("device", str)):
            if not isinstance(getattr(self, name), kinds):
                raise BadRequest(name, getattr(self, name), "a name" if name == "device" else "a name or a path")
        object.__setattr__(self, "models_folder", Path(self.models_folder))
        for name, choices in (("dtype", get_args(Dtype)), ("batching", get_args(Batching))):
            if getattr(self, name) not in choices:
                raise BadRequest(name, getattr(self, name), f"one of {', '.join(choices)}")
        for name in ("unet_rows", "max_in_flight", "memory_budget"):
            value = getattr(self, name)
            if name != "max_in_flight" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BadRequest(name, value, "a whole number of at least 1")

    @property
    def rows(self) -> int:
        """``unet_rows``, or what the batching mode takes by default."""
        return self.unet_rows or (2 if self.batching == "exact" else 16)
