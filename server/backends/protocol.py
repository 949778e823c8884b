"""The protocol that every backend follows: something that carries out one request a call. Knows no job and no HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from engine import GenerationRequest, GenerationResult, Progress
from server.backends.checkpoints import ModelInfo

Listener = Callable[[Progress], None]
"""A function that is called on the event loop each time the request gets on."""


class Backend(Protocol):
    """The server's view of what makes pictures. All methods are called on the event loop, and none blocks it."""

    capacity: int
    """The number of pictures that may usefully be in progress at the same time."""

    async def start(self) -> None:
        """Get ready and load the default checkpoint. Raises an ``EngineError`` if that fails."""

    async def close(self) -> None:
        """Stop; requests that are still running fail with ``EngineClosed``."""

    @property
    def ready(self) -> bool:
        """Whether the backend has started, has loaded its default checkpoint, and accepts requests."""

    def check(self, request: GenerationRequest) -> GenerationRequest:
        """Return ``request`` with its ``model`` named, having checked all that can be checked without the checkpoint.

        A model is looked up by name, in the models folders only. Raises ``BadRequest`` and ``UnknownCheckpoint``.
        """

    async def run(self, request: GenerationRequest, listen: Listener, client: str | None = None) -> GenerationResult:
        """Carry out one request that ``check`` returned, together with all others that are running.

        ``client`` is the name by which callers take turns at the device, however many requests each has running.
        ``listen`` hears ``loading`` only while a checkpoint is being loaded. Raises an ``EngineError``. Cancelling the
        calling task cancels the request, which frees its slot within a step.
        """

    def models(self) -> list[ModelInfo]:
        """Return the checkpoints that requests may name, the default one first."""

    async def load(self, name: str) -> None:
        """Load a checkpoint. Raises ``UnknownCheckpoint``, ``BrokenCheckpoint``, ``OutOfMemory``."""

    async def unload(self, name: str) -> bool:
        """Drop a checkpoint as soon as no request uses it; False if it was not loaded. Raises ``UnknownCheckpoint``."""

    def status(self) -> dict[str, Any]:
        """Return figures for people and metrics: ``model``, ``device``, ``dtype``, ``batching``, ``memory_total``,
        ``memory_free``, ``memory_used``, ``in_flight``, ``resident``, ``ticks``, ``evaluations``."""
