"""What is compiled while the first checkpoint is loaded, and that nothing depends on it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import EngineConfig
from engine.checkpoint import load_checkpoint
from engine.networks.compiling import Kernel
from engine.networks.decoder import VaeDecoder
from engine.networks.operations import Operations
from engine.networks.unet import Unet
from engine.running.residents import Tools
from engine.running.residents.checkpoints import _compile_ahead, checkpoint_size
from engine.workflow.models import Checkpoint
from tests.engine.networks.test_compiling import FakeFunction


def tools(dtype: torch.dtype = torch.float32) -> Tools:
    return Tools(EngineConfig(device="cpu"), torch.device("cpu"), dtype, lambda model, chores: None)


def network(calls: list[Any], function: FakeFunction, failure: Exception | None = None) -> Callable[..., torch.Tensor]:
    """One that starts a kernel; ``calls`` notes the shapes that it is given."""

    def run(*inputs: torch.Tensor) -> torch.Tensor:
        calls.append([tuple(given.shape) for given in inputs])
        Kernel(function)[(1,)](*inputs)
        if failure is not None:
            raise failure
        return inputs[0]

    return run


def compile_ahead(unet: Any, decoder: Any) -> None:
    unet.inputs = 4
    _compile_ahead(unet, decoder, 768, tools())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_checkpoints_size_is_what_is_held_of_it(tiny_checkpoint: Path, dtype: torch.dtype) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint, device=torch.device("cpu"), dtype=dtype)
    unet, decoder = Unet(checkpoint.unet, Operations()), VaeDecoder(checkpoint.vae, Operations())
    held = [checkpoint.unet, checkpoint.vae, checkpoint.text_encoder]
    held += [*unet._doublings.values(), decoder._layers["doublings"]]
    size = checkpoint_size(Checkpoint(name=str(tiny_checkpoint)), tools(dtype))
    assert size == sum(p.nbytes for layer in held for p in layer.parameters())


def test_both_networks_kernels_are_compiled_and_not_started() -> None:
    calls: list[Any] = []
    first, second = FakeFunction(), FakeFunction()
    compile_ahead(network(calls, first), network(calls, second))
    assert calls == [[(1, 4, 64, 64), (1,), (2, 77, 768)], [(1, 4, 64, 64)]]
    assert (len(first.compiled), len(second.compiled), first.started, second.started) == (1, 1, [], [])


@pytest.mark.parametrize("failure", [torch.OutOfMemoryError("pretended"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")])
def test_a_checkpoint_is_loaded_though_nothing_can_be_compiled(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        compile_ahead(network([], FakeFunction(), failure), network([], FakeFunction()))
    assert str(failure) in caplog.text


def test_a_device_that_fails_is_told() -> None:
    failure = torch.AcceleratorError("an illegal memory access was encountered")
    with pytest.raises(torch.AcceleratorError, match="illegal"):
        compile_ahead(network([], FakeFunction(), failure), network([], FakeFunction()))
