"""The protocol that every backend follows: something that carries out one workflow a call. Knows no job and no HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from engine import GenerationRequest, GenerationResult, Progress, Workflow
from engine.tensors.kinds import FileKind
from engine.workflow.sizes import NOTHING_KNOWN, Known
from server.backends.checkpoints import FileInfo, ModelInfo

Listener = Callable[[Progress], None]
"""A function that is called on the event loop each time the workflow gets on."""

NO_INPUTS: Mapping[str, bytes] = MappingProxyType({})


class Backend(Protocol):
    """The server's view of what makes pictures. All methods are called on the event loop, and none blocks it."""

    capacity: int
    """The number of pictures that may usefully be in progress at the same time."""

    async def start(self) -> None:
        """Get ready and load the default checkpoint. Raises an ``EngineError`` if that fails."""

    async def close(self) -> None:
        """Stop; workflows that are still running fail with ``EngineClosed``."""

    @property
    def ready(self) -> bool:
        """Whether the backend has started, has loaded its default checkpoint, and accepts workflows."""

    def check(self, wanted: GenerationRequest | Workflow, known: Known = NOTHING_KNOWN) -> GenerationRequest | Workflow:
        """Check all of a request or a workflow that can be checked without the checkpoint.

        ``known`` has the sizes of the pictures that were handed in for it, by the names that it has for them.
        A request is returned with its ``model`` named, a workflow as it is. Models are looked up by name, in the models
        folders only. Raises ``BadRequest``, which names all files that are missing, and ``UnknownCheckpoint``.
        """

    def find(self, kind: FileKind, name: str | None) -> None:
        """Raise ``UnknownFile`` where no file of ``kind`` has this name; None is the default checkpoint's."""

    def name_of(self, model: str) -> str:
        """Return the backend's name for a checkpoint that a graph names. Raises ``UnknownCheckpoint``."""

    async def run(
        self,
        workflow: Workflow,
        listen: Listener,
        client: str | None = None,
        inputs: Mapping[str, bytes] = NO_INPUTS,
    ) -> GenerationResult:
        """Carry out one workflow that ``check`` accepted, together with all others that are running.

        ``inputs`` are the files of the pictures that it loads, by the names that it has for them.

        ``client`` is the name by which callers take turns at the device, however many workflows each has running.
        ``listen`` hears ``loading`` only while a checkpoint is being loaded. Raises an ``EngineError``. Cancelling the
        calling task cancels the workflow, which frees its slot within a step.
        """

    def models(self) -> list[ModelInfo]:
        """Return the checkpoints that callers may name, the default one first."""

    def files(self, kind: FileKind) -> list[FileInfo]:
        """Return the files of ``kind`` that workflows may name, sorted by name."""

    def metadata(self, kind: FileKind, name: str) -> Mapping[str, str]:
        """Return the texts in the header of a file of ``kind``, which training programs write.

        It reads the file, so call it off the event loop. Raises ``UnknownFile`` and ``BrokenCheckpoint``.
        """
        ...

    def refresh(self) -> None:
        """Let ``models`` and ``files`` show at the next call what the folders hold then."""

    async def load(self, name: str) -> None:
        """Load a checkpoint. Raises ``UnknownCheckpoint``, ``BrokenCheckpoint``, ``OutOfMemory``."""

    async def unload(self, name: str) -> bool:
        """Drop a checkpoint once no workflow uses it; False if it was not loaded. Raises ``UnknownCheckpoint``."""

    def status(self) -> dict[str, Any]:
        """Return figures for people and metrics: ``model``, ``device``, ``dtype``, ``batching``, ``memory_total``,
        ``memory_free``, ``memory_used``, ``in_flight``, ``resident``, ``ticks``, ``evaluations``."""
