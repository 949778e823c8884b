"""The engine: requests in, pictures out. Puts the parts together; owns the thread that talks to the device."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from engine import catalog
from engine.checkpoint import checkpoint_size, load_checkpoint
from engine.conditioning import Conditioner
from engine.config import EngineConfig
from engine.denoiser import Denoiser
from engine.device import device_name, settle, torch_device, torch_dtype
from engine.handle import GenerationResult, Handle, Listener
from engine.job import Job, Model
from engine.loop import Loop, as_ours
from engine.memory import free_bytes
from engine.networks.decoder import VaeDecoder
from engine.networks.graphs import CudaRecorder
from engine.networks.operations import operations_for
from engine.networks.unet import Unet
from engine.pool import Pool
from engine.request import GenerationRequest
from engine.trajectory import check
from engine.vae import Decoder

_VERSIONED = ("torch", "diffusers", "transformers", "numpy")
_SHARE_OF_FREE_MEMORY = 0.75  # the rest is for activations, conditioning and pictures


class Engine:
    """Runs requests on one device. Thread-safe; ``with Engine(…) as engine:`` closes it.

    Where ``config.checkpoint`` names a checkpoint, it is loaded before the constructor returns; otherwise the first
    request that needs one waits for it. Raises ``BadRequest`` for a device that is not there, ``UnknownCheckpoint``
    and ``BrokenCheckpoint``.
    """

    def __init__(self, config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        self.device = torch_device(self.config)
        self.dtype = torch_dtype(self.config, self.device)
        settle(self.device)
        budget = self.config.memory_budget or int(free_bytes(self.device) * _SHARE_OF_FREE_MEMORY)
        named = self.config.checkpoint
        first = catalog.resolve(named, self.config.models_folder) if named is not None else None
        load = functools.partial(_load, self.config, self.device, self.dtype)  # no reference to self: see _close
        self._pool: Pool[Model] = Pool(load, functools.partial(checkpoint_size, dtype=self.dtype), budget=budget)
        rows = self.config.call_sizes(gpu=self.device.type == "cuda")[-1]
        self._loop = Loop(device=self.device, capacity=self.config.max_in_flight, rows=rows)
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

    def submit(self, request: GenerationRequest, *, previews: bool = False, listen: Listener | None = None) -> Handle:
        """Accept ``request`` and return at once; requests in flight share the device's work.

        A seed of None is drawn now. With ``previews``, every step's ``Progress`` shows a small picture.
        ``listen`` is called for each progress, and for the end, on the thread that brings the news.

        Raises ``BadRequest`` for what can be told without the checkpoint (its prompts' syntax, its schedule),
        ``UnknownCheckpoint``, and ``EngineClosed``.
        """
        path = self.checkpoint_file(request)
        check(request)
        lease = self._pool.acquire(path)
        accepted = dataclasses.replace(request.with_seed(), model=catalog.name_of(path, self.config.models_folder))
        handle = Handle(accepted, self._cancel, listen)
        self._loop.submit(Job(handle=handle, lease=lease, previews=previews))
        return handle

    def checkpoint_file(self, request: GenerationRequest) -> Path:
        """The checkpoint that ``request`` runs on. Raises ``UnknownCheckpoint``."""
        named = request.model if request.model is not None else self.config.checkpoint
        return catalog.file_of(named, self.config.models_folder)

    def load(self, model: str | Path) -> None:
        """Have a checkpoint resident; blocks until it is. It may have to go again as any other.

        Raises ``UnknownCheckpoint``, ``BrokenCheckpoint``, ``OutOfMemory`` and ``EngineClosed``.
        """
        try:
            self._preload(catalog.resolve(model, self.config.models_folder))
        except Exception as error:
            raise as_ours(error) from None

    def unload(self, model: str | Path) -> bool:
        """Let a checkpoint go, at once or when the last one that uses it is done; False where it was not resident.

        Raises ``UnknownCheckpoint``.
        """
        return self._pool.let_go(catalog.resolve(model, self.config.models_folder))

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
        """Since the start: ``ticks`` of the loop and ``evaluations``, of one picture each; and those ``in_flight``."""
        return self._loop.counts

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


def _load(config: EngineConfig, device: torch.device, dtype: torch.dtype, path: Path) -> Model:
    settle(device)
    checkpoint = load_checkpoint(path, device=device, dtype=dtype)
    gpu = device.type == "cuda"
    fast = gpu and config.compile != "off"
    exact, sizes = config.batching == "exact", config.call_sizes(gpu=gpu)
    unet = Unet(checkpoint.unet, operations_for(device, dtype, fused=fast, unit=sizes[0] if exact else None))
    decoder = VaeDecoder(checkpoint.vae, operations_for(device, dtype, fused=fast))

    def recorder() -> CudaRecorder | None:
        return CudaRecorder() if fast else None

    denoiser = Denoiser(unet, exact=exact, sizes=sizes, recorder=recorder())
    return Model(
        checkpoint=checkpoint,
        conditioner=Conditioner(checkpoint.text_encoder, recorder()),
        denoiser=denoiser,
        decoder=Decoder(decoder, recorder()),
        record=_record(config, device, dtype, path) | {"form": denoiser.form},
    )


def _record(config: EngineConfig, device: torch.device, dtype: torch.dtype, path: Path) -> dict[str, Any]:
    """What the bytes of a picture depend on beside its request."""
    sizes = config.call_sizes(gpu=device.type == "cuda")
    return {
        "checkpoint": path.name,
        "checkpoint_bytes": path.stat().st_size,
        "device": device_name(device),
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "dtype": str(dtype).removeprefix("torch."),
        "batching": config.batching,
        "unet_rows": sizes[0] if config.batching == "exact" else sizes[-1],
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        **{name: importlib.metadata.version(name) for name in _VERSIONED},
    }
