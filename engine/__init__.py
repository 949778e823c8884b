"""The engine's public face: pictures from Stable Diffusion 1.x checkpoints.

from engine import Engine, EngineConfig, GenerationRequest

with Engine(EngineConfig(checkpoint="models/AWPainting_v1.3.safetensors")) as engine:
    engine.generate(GenerationRequest(prompt="a glass bottle", seed=7)).images[0].save("bottle.png")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from engine.config import EngineConfig
from engine.errors import (
    BadRequest,
    BrokenCheckpoint,
    Cancelled,
    EngineClosed,
    EngineError,
    GenerationFailed,
    OutOfMemory,
    UnknownCheckpoint,
)
from engine.request import GenerationRequest
from engine.request_parts import Control, Hires, Lora, PromptReading, Region, Upscaling
from engine.workflow.workflow import Workflow

__version__ = "0.1.0"

if TYPE_CHECKING:
    from engine.engine import Engine as Engine
    from engine.handle import GenerationResult as GenerationResult
    from engine.handle import Handle as Handle
    from engine.handle import Progress as Progress

__all__ = [
    "BadRequest",
    "BrokenCheckpoint",
    "Cancelled",
    "Control",
    "Engine",
    "EngineClosed",
    "EngineConfig",
    "EngineError",
    "GenerationFailed",
    "GenerationRequest",
    "GenerationResult",
    "Handle",
    "Hires",
    "Lora",
    "OutOfMemory",
    "Progress",
    "PromptReading",
    "Region",
    "UnknownCheckpoint",
    "Upscaling",
    "Workflow",
]

_IMPORTED_LATE = {
    "Engine": "engine.engine",
    "GenerationResult": "engine.handle",
    "Handle": "engine.handle",
    "Progress": "engine.handle",
}


def __getattr__(name: str) -> object:
    """Import what needs torch when it is first used, so that commands report mistakes without waiting for torch."""
    if name not in _IMPORTED_LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(importlib.import_module(_IMPORTED_LATE[name]), name)
    globals()[name] = found  # so that this is done once
    return found
