"""A checkpoint's file → the model that works with it: networks, graphs, hints, and what a picture's record says.

Runs on the pool's thread, beside the one that samples; knows nothing of requests.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from engine.batching.denoiser import Denoiser
from engine.checkpoint import Checkpoint, inspect_checkpoint, load_checkpoint
from engine.config import EngineConfig
from engine.device.devices import device_name, settle
from engine.device.memory import device_lost, release_cached
from engine.device.transfer import Aside
from engine.networks.compiling import compiled_ahead
from engine.networks.decoder import VaeDecoder
from engine.networks.doubling import parameters_before_doubling
from engine.networks.graphs import CudaRecorder, Launcher, Recorder, Tally
from engine.networks.hints import Hints, hints_file
from engine.networks.operations import operations_for
from engine.networks.unet import Unet
from engine.pictures.decoder import Decoder
from engine.running.chores import CELLS, Chore, chores
from engine.running.memory_needs import largest_side
from engine.running.model import Model
from engine.text.conditioning import Conditioner
from engine.text.prompt import CHUNK

_log = logging.getLogger(__name__)

_VERSIONED = ("torch", "diffusers", "transformers", "numpy")


def resident_size(path: Path, dtype: torch.dtype) -> int:
    """Bytes that the checkpoint in ``path`` takes at work in ``dtype``. Raises what ``inspect_checkpoint`` raises."""
    facts = inspect_checkpoint(path)
    added = sum(map(parameters_before_doubling, (facts.unet_widths, facts.vae_widths)))
    return facts.size_bytes(dtype) + added * dtype.itemsize


class Loader:
    """Loads checkpoints for one engine, one at a time. ``offer`` is handed each model with graphs, and its chores."""

    def __init__(
        self,
        config: EngineConfig,
        device: torch.device,
        dtype: torch.dtype,
        offer: Callable[[Model, Sequence[Chore]], None],
    ) -> None:
        self.tally = Tally()
        """Of all models."""
        self._offer = offer
        self._config = config
        self._device = device
        self._dtype = dtype
        self._gpu = device.type == "cuda"
        self._fast = self._gpu and config.compile != "off"
        self._exact = config.batching == "exact"
        self._sizes = config.call_sizes(gpu=self._gpu)
        self._unit = self._sizes[0] if self._exact else None
        self._aside = Aside(device)
        self._compiled = False

    def load(self, path: Path) -> Model:
        """The checkpoint in ``path``, ready to work. Raises what ``load_checkpoint`` raises."""
        settle(self._device)
        with self._aside.work():
            checkpoint = load_checkpoint(path, device=self._device, dtype=self._dtype)
            hints = self._hints(checkpoint)
            model = self._model(checkpoint, path, hints)
        weakref.finalize(model, hints.save_aside)
        side = largest_side(model, self._device)
        _log.info("%s is loaded; pictures of up to %d × %d fit into the memory that is left", path.name, side, side)
        if model.denoiser.form == "graph":
            self._offer(model, chores(self._sizes, hints.shapes))
        return model

    def _model(self, checkpoint: Checkpoint, path: Path, hints: Hints) -> Model:
        device, dtype, fused = self._device, self._dtype, self._fast
        operations = operations_for(device, dtype, fused=fused, unit=self._unit, hints=hints)
        unet = Unet(checkpoint.unet, operations)
        decoder = VaeDecoder(checkpoint.vae, operations_for(device, dtype, fused=fused))
        if operations.fused and not self._compiled:
            self._compiled = True
            self._compile_ahead(unet, decoder, checkpoint.text_encoder.config.hidden_size)
        launcher = Launcher(self._recorder, self.tally)
        denoiser = Denoiser(unet, exact=self._exact, sizes=self._sizes, launcher=launcher, hints=hints)
        return Model(
            checkpoint=checkpoint,
            conditioner=Conditioner(checkpoint.text_encoder, launcher),
            denoiser=denoiser,
            decoder=Decoder(decoder, launcher),
            record=self._record(path) | {"form": denoiser.form},
        )

    def _compile_ahead(self, unet: Unet, decoder: VaeDecoder, width: int) -> None:
        """Compile the kernels for pictures of 512 × 512, so that the first request does not wait for each in turn.

        This is done for the first checkpoint only, while nothing else is at work. If it fails, for want of memory say,
        the kernels are compiled when they are used.
        """
        rows, zeros = self._sizes[0], functools.partial(torch.zeros, device=self._device, dtype=self._dtype)
        try:
            with torch.inference_mode(), compiled_ahead(self._device):
                latents = max(1, rows // 2)  # of pictures with guidance
                unet(zeros(latents, 4, CELLS, CELLS), zeros(latents, dtype=torch.float32), zeros(rows, CHUNK, width))
                decoder(zeros(1, 4, CELLS, CELLS))
        except Exception as error:
            if device_lost(error):
                raise
            _log.warning("no kernels are compiled ahead: %s: %s", type(error).__name__, error)
        release_cached(self._device)

    def _recorder(self) -> Recorder | None:
        return CudaRecorder() if self._fast else None

    def _hints(self, checkpoint: Checkpoint) -> Hints:
        """Those of a UNet of this kind, whose weights are not laid out yet."""
        if self._config.cache_folder is None:
            return Hints()
        facts = {
            "device": device_name(self._device),
            "capability": torch.cuda.get_device_capability(self._device) if self._gpu else None,
            "driver": getattr(torch._C, "_cuda_getDriverVersion", int)() if self._gpu else None,
            "threads": None if self._gpu else torch.get_num_threads(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version() if self._gpu else None,
            "dtype": str(self._dtype),
            "fused": self._fast,
            "unit": self._unit,
            "sizes": self._sizes,
            "weights": {name: list(weight.shape) for name, weight in checkpoint.unet.named_parameters()},
        }
        return Hints(hints_file(self._config.cache_folder, facts))

    def _record(self, path: Path) -> dict[str, Any]:
        """What the bytes of a picture depend on beside its request."""
        return {
            "checkpoint": path.name,
            "checkpoint_bytes": path.stat().st_size,
            "device": device_name(self._device),
            "threads": None if self._gpu else torch.get_num_threads(),
            "dtype": str(self._dtype).removeprefix("torch."),
            "batching": self._config.batching,
            "unet_rows": self._sizes[0] if self._exact else self._sizes[-1],
            "cudnn": torch.backends.cudnn.version() if self._gpu else None,
            **{name: importlib.metadata.version(name) for name in _VERSIONED},
        }
