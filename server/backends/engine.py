"""The backend that runs requests on an engine in this process. Knows no jobs, no database and no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from engine import BadRequest, EngineClosed, GenerationRequest, GenerationResult, Progress, Workflow
from engine.errors import BrokenCheckpoint, UnknownFile
from engine.models.folders import Folders
from engine.tensors.entries import UnreadableFile
from engine.tensors.header import read_tensor_file
from engine.tensors.kinds import FileKind
from engine.workflow.needs import checkpoints_of
from engine.workflow.node import Node
from engine.workflow.sizes import NOTHING_KNOWN, Known
from engine.workflow.weights import file_kind
from server.backends.checkpoints import Checkpoints, FileInfo, ModelInfo, without_paths
from server.backends.protocol import NO_INPUTS, Listener
from server.settings import Settings

if TYPE_CHECKING:
    from engine import Engine
    from engine.handle import Handle
    from engine.handle import Listener as EngineListener

_LOOK_AFTER_SECONDS = 5.0


class EngineBackend:
    """A ``Backend`` on one ``Engine``, which is created on another thread so that the server already accepts jobs."""

    def __init__(self, settings: Settings) -> None:
        """Look up the default checkpoint; create no engine yet. Raises ``BadRequest`` and ``UnknownCheckpoint``."""
        self._config = settings.engine_config()
        self._checkpoints = Checkpoints(self._config.models_folders, self._config.checkpoint)
        self.capacity = self._config.max_in_flight
        self._engine: Engine | None = None
        self._started = False
        self._closed = False
        self._loads: dict[Path, asyncio.Future[None]] = {}
        self._waiting = ThreadPoolExecutor(max_workers=4, thread_name_prefix="waits-for-checkpoint")

    async def start(self) -> None:
        engine = await asyncio.to_thread(self._make)
        await asyncio.to_thread(self._checkpoints.files, "checkpoints")  # reads of all files, once, what they are
        if self._closed:
            await asyncio.to_thread(engine.close)
            raise EngineClosed("the server was closed while the engine was being created")
        self._engine = engine
        await asyncio.to_thread(engine.load, self._checkpoints.default)
        self._started = True

    async def close(self) -> None:
        self._closed = True
        if self._engine is not None:
            await asyncio.to_thread(self._engine.close)
        self._waiting.shutdown(wait=False)

    @property
    def ready(self) -> bool:
        return self._started and not self._closed and self._engine is not None and self._engine.running

    def check(self, wanted: GenerationRequest | Workflow, known: Known = NOTHING_KNOWN) -> GenerationRequest | Workflow:
        from engine.running.checking import check, in_callers_words  # needs torch, but nothing that loads checkpoints
        from engine.running.inputs import known_of

        if isinstance(wanted, Workflow):
            request, workflow = None, wanted
        else:
            wanted = dataclasses.replace(wanted, model=self._checkpoints.name_of(wanted.model))
            request = wanted.with_seed()
            workflow = request.workflow()
        mistakes: list[BadRequest] = []
        if request is None or not request.plain:
            mistakes += (mistake for node in workflow.nodes for mistake in self._missing_files(node))
        try:
            if not mistakes and (request is None or not request.plain):
                known = known_of(workflow, dict(known.pictures), Folders(self._config.models_folders))
            check(workflow, known)
        except BadRequest as error:
            mistakes.append(error)
        if mistakes:
            raise BadRequest.together([in_callers_words(each, workflow, request) for each in mistakes])
        return wanted

    def name_of(self, model: str) -> str:
        return self._checkpoints.name_of(model)

    async def run(
        self,
        workflow: Workflow,
        listen: Listener,
        client: str | None = None,
        inputs: Mapping[str, bytes] = NO_INPUTS,
    ) -> GenerationResult:
        engine = self._running_engine()
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        files = {name: self._checkpoints.file_of(name) for name in checkpoints_of(workflow) if name is not None}
        submit = partial(engine.submit, workflow, files=files, previews=True, listen=_bridge(listen, end), owner=client)
        try:
            handle = submit() if not inputs else await _submitted(partial(submit, inputs=inputs))
        except UnknownFile as error:  # it was there when the job was accepted
            raise without_paths(error, self._config.models_folders) from None
        try:
            await _ended(engine, end)
            return handle.result(timeout=0)
        finally:
            handle.cancel()

    def find(self, kind: FileKind, name: str | None) -> None:
        if kind == "checkpoints":
            self._checkpoints.name_of(name)
        elif name is not None:
            try:
                Folders(self._config.models_folders).find(kind, name)
            except UnknownFile as error:
                raise without_paths(error, self._config.models_folders) from None

    def _missing_files(self, node: Node) -> Iterator[UnknownFile]:
        """The mistakes of a node that names files that the models folders do not have."""
        for field, name in node.fields():
            kind = file_kind(node, field)
            try:
                if kind is not None:
                    self.find(kind, name)
            except UnknownFile as error:
                yield type(error)(field, name, error.allowed, node=node)

    def models(self) -> list[ModelInfo]:
        engine = self._engine
        resident, loading = ([], []) if engine is None else (engine.resident(), engine.loading())
        return [
            dataclasses.replace(info, resident=Path(info.path) in resident, loading=Path(info.path) in loading)
            for info in self._checkpoints.models()
        ]

    def files(self, kind: FileKind) -> list[FileInfo]:
        return self._checkpoints.files(kind)

    def metadata(self, kind: FileKind, name: str) -> Mapping[str, str]:
        if name not in (file.name for file in self.files(kind)):
            raise UnknownFile("filename", name, f"a file of the folder {kind}")
        path = Folders(self._config.models_folders).find(kind, name)
        try:
            return read_tensor_file(path).metadata
        except UnreadableFile as error:
            raise BrokenCheckpoint(path, str(error)) from None

    def refresh(self) -> None:
        self._checkpoints.refresh()

    async def load(self, name: str) -> None:
        path = self._checkpoints.file_of(name)
        task = self._loads.get(path)
        if task is None:
            engine, loop = self._running_engine(), asyncio.get_running_loop()
            task = self._loads[path] = loop.run_in_executor(self._waiting, engine.load, path)
            task.add_done_callback(lambda _: self._loads.pop(path, None))
        await asyncio.shield(task)

    async def unload(self, name: str) -> bool:
        path = self._checkpoints.file_of(name)
        return self._engine is not None and self._engine.unload(path)

    def status(self) -> dict[str, Any]:
        engine = self._engine
        described: dict[str, Any] = {"model": self._checkpoints.default_name, "batching": self._config.batching}
        if engine is None:
            return described | {"device": self._config.device, "dtype": self._config.dtype, "resident": []}
        from engine.device.devices import device_name

        return described | {
            "device": f"{engine.device} ({device_name(engine.device)})",
            "dtype": str(engine.dtype).removeprefix("torch."),
            "resident": [path.stem for path in engine.resident()],
            **_memory(engine),
            **engine.counts,
        }

    def _make(self) -> Engine:
        from engine import Engine

        return Engine(dataclasses.replace(self._config, checkpoint=None))

    def _running_engine(self) -> Engine:
        if self._engine is None or self._closed or not self._engine.running:
            raise EngineClosed("the engine is not running")
        return self._engine


async def _submitted(submit: Callable[[], Handle]) -> Handle:
    """Submit on another thread, since pictures are decoded first; cancel what no caller waits for any more."""
    submitting = asyncio.get_running_loop().run_in_executor(None, submit)
    try:
        return await asyncio.shield(submitting)
    except asyncio.CancelledError:
        submitting.add_done_callback(lambda done: done.exception() or done.result().cancel())
        raise


async def _ended(engine: Engine, end: asyncio.Future[None]) -> None:
    """Wait until the request is done. Raises ``EngineClosed`` if the engine's thread dies before that."""
    while not end.done():
        await asyncio.wait({end}, timeout=_LOOK_AFTER_SECONDS)
        if not end.done() and not engine.running:
            raise EngineClosed("the engine's thread has ended")


def _bridge(listen: Listener, end: asyncio.Future[None]) -> EngineListener:
    """Return a listener that brings news from the engine's thread to the event loop; ``end`` is set at the end."""
    loop = asyncio.get_running_loop()

    def hear(news: Progress | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and no caller is left
            loop.call_soon_threadsafe(deliver, news)

    def deliver(news: Progress | None) -> None:
        if end.done():
            return
        if news is None:
            end.set_result(None)
        else:
            listen(news)

    return hear


def _memory(engine: Engine) -> dict[str, int]:
    from engine.device.memory import free_bytes

    if engine.device.type == "cuda":
        import torch

        total = int(torch.cuda.get_device_properties(engine.device).total_memory)
    else:
        total = int(psutil.virtual_memory().total)
    free = free_bytes(engine.device)
    return {"memory_total": total, "memory_free": free, "memory_used": max(0, total - free)}
