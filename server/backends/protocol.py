"""What runs jobs' requests: the protocol that every backend follows. Knows no engine, no jobs and no HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from engine import GenerationRequest, GenerationResult, Progress
from server.backends.checkpoints import ModelInfo

Listener = Callable[[int, Progress], None]
"""Called on the event loop with the number of a request among those given to ``run``, and where it stands."""


class Backend(Protocol):
    """What runs requests. All methods are called on the event loop; none blocks it."""

    capacity: int
    """Pictures that may usefully be asked of it at the same time."""

    async def start(self) -> None:
        """Make ready, and load the default checkpoint. Raises an ``EngineError`` when that cannot be."""

    async def close(self) -> None: ...

    @property
    def ready(self) -> bool:
        """Whether it has started, the default checkpoint with it, and carries out what it is given."""

    def check(self, request: GenerationRequest) -> GenerationRequest:
        """``request`` with ``model`` named, or ``BadRequest`` / ``UnknownCheckpoint`` for what can be told at once.

        A model is looked for by its name, in the models folder alone.
        """

    async def run(
        self, requests: Sequence[GenerationRequest], listen: Listener, client: str | None = None
    ) -> list[GenerationResult]:
        """Carry all out, together with what else is running; the clients take turns at the device.

        Raises what the first one that failed raised, having cancelled the others; cancelling the calling task cancels
        them all and frees their places within a step."""

    def models(self) -> list[ModelInfo]:
        """What lies in the models folder, the default first."""

    async def load(self, name: str) -> None:
        """Have a checkpoint resident. Raises ``UnknownCheckpoint``, ``BrokenCheckpoint``, ``OutOfMemory``."""

    async def unload(self, name: str) -> bool:
        """Let a checkpoint go, once nobody uses it; says whether it was resident. Raises ``UnknownCheckpoint``."""

    def status(self) -> dict[str, Any]:
        """For people and metrics: ``model``, ``device``, ``dtype``, ``batching``, ``memory_total``, ``memory_free``,
        ``memory_used``, ``in_flight``, ``resident``, ``ticks``, ``evaluations``."""
