"""The engine: requests in, pictures out. Puts the parts together; owns the thread that talks to the device."""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import Hashable
from pathlib import Path
from types import TracebackType

from engine.batching.trajectory import check
from engine.config import EngineConfig
from engine.device.devices import settle, torch_device, torch_dtype
from engine.device.memory import free_bytes
from engine.handle import GenerationResult, Handle, Listener
from engine.models import catalog
from engine.request import GenerationRequest
from engine.running.job import Job, Model
from engine.running.loading import Loader, resident_size
from engine.running.loop import Loop, as_ours
from engine.running.observer import Observer
from engine.running.pool import Pool
from engine.text.vocabulary import encoder

_SHARE_OF_FREE_MEMORY = 0.75  # the rest is for activations, conditioning and pictures


class Engine:
    """Runs requests on one device. Thread-safe; ``with Engine(…) as engine:`` closes it.

    Where ``config.checkpoint`` names a checkpoint, it is loaded before the constructor returns; otherwise the first
    request that needs one waits for it. ``observer`` is entered around each stage of the engine's work.

    Raises ``BadRequest`` for a device that is not there, ``UnknownCheckpoint`` and ``BrokenCheckpoint``.
    """

    def __init__(self, config: EngineConfig | None = None, *, observer: Observer | None = None) -> None:
        self.config = config or EngineConfig()
        self.device = torch_device(self.config)
        self.dtype = torch_dtype(self.config, self.device)
        encoder()
        settle(self.device)
        budget = self.config.memory_budget or int(free_bytes(self.device) * _SHARE_OF_FREE_MEMORY)
        named = self.config.checkpoint
        first = catalog.resolve(named, self.config.models_folders) if named is not None else None
        rows = self.config.call_sizes(gpu=self.device.type == "cuda")[-1]
        self._loop = Loop(device=self.device, capacity=self.config.max_in_flight, rows=rows, observer=observer)
        # none of these has a reference to self: see _close
        self._loader = Loader(self.config, self.device, self.dtype, self._loop.warm_up)
        size_of = functools.partial(resident_size, dtype=self.dtype)
        self._pool: Pool[Model] = Pool(self._loader.load, size_of, budget=budget)
        self._close = weakref.finalize(self, _close, self._loop, self._pool)
        if first is not None:
            try:
                self._preload(first)
            except Exception as error:
                self.close()
                raise as_ours(error) from None

    def generate(self, request: GenerationRequest | None = None) -> GenerationResult:
        """The result of ``request``; blocks until it is there. Raises what ``submit`` and ``Handle.result`` raise."""
        handle = self.submit(request or GenerationRequest())
        try:
            return handle.result()
        except BaseException:
            handle.cancel()
            raise

    def submit(
        self,
        request: GenerationRequest,
        *,
        previews: bool = False,
        listen: Listener | None = None,
        owner: Hashable = None,
    ) -> Handle:
        """Accept ``request`` and return at once; requests in flight share the device's work.

        A seed of None is drawn now. With ``previews``, every step's ``Progress`` shows a small picture.
        ``owner``: whose request it is; owners take turns at the device, however many requests each has in flight.
        ``listen`` is called for each progress, and for the end, on the thread that brings the news.

        Raises ``BadRequest`` for what can be told without the checkpoint (its prompts' syntax, its schedule),
        ``UnknownCheckpoint``, and ``EngineClosed``.
        """
        path = self.checkpoint_file(request)
        check(request)
        lease = self._pool.acquire(path)
        accepted = dataclasses.replace(request.with_seed(), model=catalog.name_of(path, self.config.models_folders))
        handle = Handle(accepted, self._cancel, listen)
        self._loop.submit(Job(handle=handle, lease=lease, previews=previews, owner=owner))
        return handle

    def checkpoint_file(self, request: GenerationRequest) -> Path:
        """The checkpoint that ``request`` runs on. Raises ``UnknownCheckpoint``."""
        named = request.model if request.model is not None else self.config.checkpoint
        return catalog.file_of(named, self.config.models_folders)

    def load(self, model: str | Path) -> None:
        """Have a checkpoint resident; blocks until it is. It may have to go again as any other.

        Raises ``UnknownCheckpoint``, ``BrokenCheckpoint``, ``OutOfMemory`` and ``EngineClosed``.
        """
        try:
            self._preload(catalog.resolve(model, self.config.models_folders))
        except Exception as error:
            raise as_ours(error) from None

    def unload(self, model: str | Path) -> bool:
        """Let a checkpoint go, at once or when the last one that uses it is done; False where it was not resident.

        Raises ``UnknownCheckpoint``.
        """
        return self._pool.let_go(catalog.resolve(model, self.config.models_folders))

    def resident(self) -> list[Path]:
        """The checkpoints that are loaded now."""
        return self._pool.resident()

    def loading(self) -> list[Path]:
        """The checkpoints that are being loaded, or wait for that."""
        return self._pool.loading()

    @property
    def running(self) -> bool:
        """Whether it carries out what is submitted: False once it is closed, or its thread has died."""
        return self._loop.running

    @property
    def counts(self) -> dict[str, int]:
        """Since the start: ``ticks`` of the loop and ``evaluations``, of one picture each; and those ``in_flight``.

        ``shapes``, since the start: how often a network met something for which it had to be prepared: by a first
        call of some shapes, by a recording, by a trial. It stands still once everything that is asked for was met.
        """
        return self._loop.counts | {"shapes": self._loader.tally.count}

    def close(self) -> None:
        """Stop after the UNet call that is running. Whoever is not done fails with ``EngineClosed``.

        Closing twice does nothing. An engine that is forgotten, or still open when the program ends, closes itself.
        """
        self._close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _cancel(self, handle: Handle) -> None:
        """A method of the engine's, so that a handle keeps its engine alive."""
        self._loop.cancel(handle)

    def _preload(self, path: Path) -> None:
        lease = self._pool.acquire(path)
        try:
            lease.resident.result()
        finally:
            lease.release()


def _close(loop: Loop, pool: Pool[Model]) -> None:
    loop.close()
    pool.close()
