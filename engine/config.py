"""Settings of an engine: models folders, device, precision, batching, memory.

Knows no tensors: ``engine.device.devices`` turns the names into torch's own objects.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from engine.errors import BadRequest
from engine.folders import models_folders

Dtype = Literal["auto", "float32", "float16", "bfloat16"]
Batching = Literal["exact", "fast"]
Compile = Literal["auto", "off"]
LoraNames = Literal["all", "comfyui"]
TextEncoder = Literal["float16", "float32"]

_PICTURE_ROWS = 2
_MOST_ROWS = 16


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Settings of one engine. Raises ``BadRequest`` for a value that is not allowed."""

    checkpoint: str | Path | None = None
    """The checkpoint for requests that name none: a name or a path. None: AWPainting v1.3 if it is installed, else the
    starter checkpoint."""

    models_folders: tuple[Path, ...] = field(default_factory=models_folders)
    """The folders that files are looked for in by name, in this order; at least one. A list is taken too, and text for
    a path. Default: ``models`` in a checkout; for an installed package the user's folder, then the one that ships with
    the engine."""

    device: str = "auto"
    """``auto`` (CUDA if there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``."""

    dtype: Dtype = "auto"
    """Precision of the networks. ``auto``: float16 on CUDA, float32 on a CPU. The samplers' x is always float32."""

    batching: Batching = "exact"
    """``exact``: every UNet call of a request has the bits of a call of one fixed size, so that the same request gives
    the same bytes whatever else is running. ``fast``: calls are as large as the load fills them; equal up to
    rounding."""

    unet_rows: int | None = None
    """Most rows of one UNet call; a picture takes two, or one where ``cfg_scale`` is 1. In ``exact`` mode it takes
    larger calls than of two rows only where the device computes them to the bits of two. None: 16, but 2 in
    ``exact`` mode on a CPU, where larger calls gain nothing."""

    compile: Compile = "auto"
    """``auto``: on a GPU, fused kernels, launched as CUDA graphs from the second call of a shape on; the usual shapes'
    are recorded while no request waits. ``off``: torch's own operators, one by one, as on a CPU."""

    lora_names: LoraNames = "all"
    """``all``: every layer that a LoRA file names is changed. ``comfyui``: attention layers of the UNet are left out
    where a file names them as PEFT does (``unet.….to_q.lora_A.weight``), as ComfyUI leaves them."""

    text_encoder: TextEncoder = "float16"
    """What the text encoder's weights are rounded to after loading, adapters and merges where ``dtype`` is float32.
    ComfyUI keeps them in float16 whatever the file holds, and so does its picture. It computes in ``dtype``."""

    max_in_flight: int = 16
    """Pictures that advance together; further requests wait for a place, in the order of their arrival."""

    memory_budget: int | None = None
    """Bytes that resident checkpoints may take together. None: 75 % of what is free when the engine starts."""

    cache_folder: Path | None = None
    """Where what is found out about the networks on this machine is kept as hints for the next process. They make it
    faster, and change no result. None: nowhere."""

    def __post_init__(self) -> None:
        for name, kinds in (
            ("checkpoint", str | Path | None),
            ("device", str),
            ("cache_folder", str | Path | None),
        ):
            if not isinstance(getattr(self, name), kinds):
                raise BadRequest(name, getattr(self, name), "a name" if name == "device" else "a name or a path")
        object.__setattr__(self, "models_folders", _folders(self.models_folders))
        if self.cache_folder is not None:
            object.__setattr__(self, "cache_folder", Path(self.cache_folder))
        for name, choices in (
            ("dtype", get_args(Dtype)),
            ("batching", get_args(Batching)),
            ("compile", get_args(Compile)),
            ("lora_names", get_args(LoraNames)),
            ("text_encoder", get_args(TextEncoder)),
        ):
            if getattr(self, name) not in choices:
                raise BadRequest(name, getattr(self, name), f"one of {', '.join(choices)}")
        for name in ("unet_rows", "max_in_flight", "memory_budget"):
            value = getattr(self, name)
            if name != "max_in_flight" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BadRequest(name, value, "a whole number of at least 1")

    def call_sizes(self, *, gpu: bool) -> tuple[int, ...]:
        """Return the row counts that UNet calls may have, rising; in ``exact`` mode all give the bits of the first."""
        exact = self.batching == "exact"
        most = self.unet_rows or (_PICTURE_ROWS if exact and not gpu else _MOST_ROWS)
        if not exact and not gpu:
            return tuple(range(1, most + 1))
        powers = itertools.takewhile(lambda size: size <= most, (_PICTURE_ROWS << n for n in itertools.count()))
        return tuple(powers) or (most,)


def _folders(value: object) -> tuple[Path, ...]:
    """Check the models folders. One path alone is refused: its letters would be taken for folders."""
    if isinstance(value, list | tuple) and value and all(isinstance(folder, str | Path) for folder in value):
        return tuple(Path(folder) for folder in value)
    raise BadRequest("models_folders", value, "a list of at least one folder, each text or a path")
