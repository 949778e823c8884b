"""Loads checkpoints: networks, graphs, hints, and what a picture's record says."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import weakref
from pathlib import Path
from typing import Any

import torch

from engine.batching.denoiser import Denoiser
from engine.checkpoint import Checkpoint, inspect_checkpoint, load_checkpoint
from engine.device.devices import device_name
from engine.device.memory import device_lost, release_cached
from engine.networks.compiling import compiled_ahead
from engine.networks.decoder import VaeDecoder
from engine.networks.doubling import parameters_before_doubling
from engine.networks.encoder import VaeEncoder
from engine.networks.hints import Hints, hints_file
from engine.networks.unet import Unet
from engine.pictures.decoder import Decoder
from engine.pictures.encoder import Encoder
from engine.running.chores import CELLS, chores
from engine.running.memory_needs import largest_side
from engine.running.model import Model
from engine.running.residents.registry import resident
from engine.running.residents.tools import Tools
from engine.text.conditioning import Conditioner
from engine.text.prompt import CHUNK
from engine.workflow import models as nodes

_log = logging.getLogger(__name__)

_VERSIONED = ("torch", "diffusers", "transformers", "numpy")


def checkpoint_size(node: nodes.Checkpoint, tools: Tools) -> int:
    """Bytes that the checkpoint takes at work. Raises what ``inspect_checkpoint`` raises."""
    facts = inspect_checkpoint(_path(node))
    added = sum(parameters_before_doubling(widths) for widths in (facts.unet_widths, facts.vae_widths) if widths)
    return facts.size_bytes(tools.dtype) + added * tools.dtype.itemsize


@resident(nodes.Checkpoint, size=checkpoint_size)
def load(node: nodes.Checkpoint, tools: Tools) -> Model:
    """Load the checkpoint in ``node.name``. Raises what ``load_checkpoint`` raises."""
    path = _path(node)
    checkpoint = load_checkpoint(path, device=tools.device, dtype=tools.dtype, half_text=tools.half_text)
    hints = hints_for(checkpoint.unet, tools)
    model = _model(checkpoint, path, tools, hints)
    weakref.finalize(model, hints.save_aside)
    side = largest_side(model, tools.device)
    _log.info("%s is loaded; pictures of up to %d × %d fit into the memory that is left", path.name, side, side)
    if model.denoiser.form == "graph":
        tools.offer(model, chores(tools.sizes, hints.shapes))
    return model


def _path(node: nodes.Checkpoint) -> Path:
    assert node.name is not None
    return Path(node.name)


def _model(checkpoint: Checkpoint, path: Path, tools: Tools, hints: Hints) -> Model:
    operations = tools.operations(by_rows=True, hints=hints)
    unet = Unet(checkpoint.unet, operations)
    vae = checkpoint.own_vae
    decoder = None if vae is None else VaeDecoder(vae, tools.operations())
    encoder = None if vae is None else VaeEncoder(vae, tools.operations(of_pixels=True))
    if operations.fused and not tools.compiled:
        tools.compiled = True
        _compile_ahead(unet, decoder, checkpoint.facts.context_width, tools)
    launcher, text_encoder = tools.launcher(), checkpoint.own_text_encoder
    denoiser = Denoiser(unet, exact=tools.exact, sizes=tools.sizes, launcher=launcher, hints=hints)
    return Model(
        checkpoint=checkpoint,
        own_conditioner=None if text_encoder is None else Conditioner(text_encoder, launcher),
        denoiser=denoiser,
        own_decoder=None if decoder is None else Decoder(decoder, launcher),
        own_encoder=None if encoder is None else Encoder(encoder, launcher),
        record=record_of(path, tools) | {"form": denoiser.form},
    )


def _compile_ahead(unet: Unet, decoder: VaeDecoder | None, width: int, tools: Tools) -> None:
    """Compile the kernels for pictures of 512 × 512, so that the first request does not wait for each in turn.

    This is done for the first checkpoint only, while nothing else is at work. If it fails, for want of memory say,
    the kernels are compiled when they are used.
    """
    rows, zeros = tools.sizes[0], functools.partial(torch.zeros, device=tools.device, dtype=tools.dtype)
    try:
        with torch.inference_mode(), compiled_ahead(tools.device):
            latents = max(1, rows // 2)  # of pictures with guidance
            x = zeros(latents, unet.inputs, CELLS, CELLS)
            unet(x, zeros(latents, dtype=torch.float32), zeros(rows, CHUNK, width))
            if decoder is not None:
                decoder(zeros(1, 4, CELLS, CELLS))
    except Exception as error:
        if device_lost(error):
            raise
        _log.warning("no kernels are compiled ahead: %s: %s", type(error).__name__, error)
    release_cached(tools.device)


def hints_for(network: torch.nn.Module, tools: Tools) -> Hints:
    """Return those of a UNet or ControlNet of this kind, whose weights are not laid out yet."""
    if tools.config.cache_folder is None:
        return Hints()
    gpu = tools.gpu
    facts = {
        "device": device_name(tools.device),
        "capability": torch.cuda.get_device_capability(tools.device) if gpu else None,
        "driver": getattr(torch._C, "_cuda_getDriverVersion", int)() if gpu else None,
        "threads": None if gpu else torch.get_num_threads(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if gpu else None,
        "dtype": str(tools.dtype),
        "fused": tools.fused,
        "unit": tools.unit,
        "sizes": tools.sizes,
        "weights": {name: list(weight.shape) for name, weight in network.named_parameters()},
    }
    return Hints(hints_file(tools.config.cache_folder, facts))


def record_of(path: Path, tools: Tools) -> dict[str, Any]:
    """Return what the bytes of a picture depend on beside its request."""
    return {
        "checkpoint": path.name,
        "checkpoint_bytes": path.stat().st_size,
        "device": device_name(tools.device),
        "threads": None if tools.gpu else torch.get_num_threads(),
        "dtype": str(tools.dtype).removeprefix("torch."),
        "text_encoder": tools.config.text_encoder,
        "batching": tools.config.batching,
        "unet_rows": tools.sizes[0] if tools.exact else tools.sizes[-1],
        "cudnn": torch.backends.cudnn.version() if tools.gpu else None,
        **{name: importlib.metadata.version(name) for name in _VERSIONED},
    }
