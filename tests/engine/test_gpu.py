"""What only a GPU can show: the kernels, the graphs, and that exact stays exact."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from engine import Engine, OutOfMemory
from engine import trials as trials_module
from engine.checkpoint import load_checkpoint
from engine.device import settle
from engine.networks.compiling import Kernel
from engine.networks.decoder import VaeDecoder
from engine.networks.operations import Operations, operations_for
from engine.networks.unet import Unet
from tests.engine.test_warm_up import settled
from tests.requests import random_request, same, small

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore"),
]
GPU = torch.device("cuda", 0)
PLAIN = Operations(layout=torch.channels_last)


@pytest.fixture(autouse=True)
def _larger_calls_are_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_module, "_WISHES_BEFORE_TRYING", 1)


def fused(dtype: torch.dtype) -> Operations:
    operations = operations_for(GPU, dtype, fused=True)
    assert operations._kernels is not None
    return operations


def pictures(rows: int, channels: int, height: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(channels + height)
    x = torch.randn(rows, channels, height, width, generator=generator) * 2 + 3
    return x.to(GPU, dtype, memory_format=torch.channels_last)


def close(found: torch.Tensor, wanted: torch.Tensor, dtype: torch.dtype) -> bool:
    error = (found.double() - wanted.double()).norm() / wanted.double().norm()
    return found.shape == wanted.shape and bool(error < (2e-3 if dtype == torch.float16 else 1e-5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize(
    ("channels", "height", "width"),
    [(320, 64, 64), (960, 17, 33), (640, 16, 16), (2560, 8, 8), (32, 1, 2), (128, 200, 96), (64, 181, 182)],
)
@torch.inference_mode()
def test_kernels_compute_what_torch_computes(channels: int, height: int, width: int, dtype: torch.dtype) -> None:
    x = pictures(2, channels, height, width, dtype)
    group, layer = nn.GroupNorm(32, channels, device=GPU, dtype=dtype), nn.LayerNorm(channels, device=GPU, dtype=dtype)
    convolution = nn.Conv2d(channels, channels, 3, padding=1, device=GPU, dtype=dtype).to(
        memory_format=torch.channels_last
    )
    for parameter in (*group.parameters(), *layer.parameters()):
        parameter.copy_(torch.randn_like(parameter))
    ours, shift = fused(dtype), torch.randn(2, channels, device=GPU, dtype=dtype)
    for given in (None, shift, shift[0]):
        wanted = PLAIN.group_norm(x.double(), group.double(), shift=None if given is None else given.double())
        found = ours.group_norm(x, group.to(dtype), shift=given)
        assert close(found, wanted, dtype)
        own = given if given is None or given.dim() == 1 else given[1:]
        assert torch.equal(ours.group_norm(x[1:], group, shift=own), found[1:])
    tokens = torch.randn(2, 9, channels, device=GPU, dtype=dtype)
    for found, wanted in zip(
        ours.add_layer_norm(tokens, tokens, layer), PLAIN.add_layer_norm(tokens, tokens, layer), strict=True
    ):
        assert close(found, wanted, dtype)
    assert close(ours.layer_norm(tokens, layer), PLAIN.layer_norm(tokens, layer), dtype)
    assert close(ours.gated(tokens), PLAIN.gated(tokens), dtype)
    assert close(ours.convolve_add(x, convolution, x), PLAIN.convolve_add(x, convolution, x), dtype)
    assert torch.equal(ours.enlarge(x, (2 * height, 2 * width)), PLAIN.enlarge(x, (2 * height, 2 * width)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@torch.inference_mode()
def test_networks_with_kernels_are_those_without(tiny_checkpoint: Path, dtype: torch.dtype) -> None:
    settle(GPU)  # or convolutions would round to TF32
    checkpoint = load_checkpoint(tiny_checkpoint, device=GPU, dtype=dtype)
    bound = 1e-4 if dtype == torch.float32 else 5e-2  # one row of two values each makes group norms of noise
    x, times = pictures(2, 4, 32, 32, dtype), torch.tensor([1.0, 999.0], device=GPU)
    conditioning = torch.randn(2, 77, 64, device=GPU, dtype=dtype)
    one, other = (Unet(checkpoint.unet, operations)(x, times, conditioning) for operations in (PLAIN, fused(dtype)))
    assert (one - other).norm() / one.norm() < bound
    one, other = (VaeDecoder(checkpoint.vae, operations)(x) for operations in (PLAIN, fused(dtype)))
    assert (one - other).norm() / one.norm() < bound


@pytest.mark.parametrize("unet_rows", [None, 2, 8])
def test_exact_mixed_equals_alone_to_the_bit(open_engine: Callable[..., Engine], unet_rows: int | None) -> None:
    engine = open_engine(device="cuda", unet_rows=unet_rows)
    requests = [random_request(seed) for seed in range(12)]
    alone = [engine.generate(request) for request in requests]
    for _ in range(2):
        for handle, wanted in zip([engine.submit(request) for request in requests], alone, strict=True):
            assert same(handle.result(120), wanted)
    assert alone[0].record["form"] == "graph"


def test_exact_does_not_depend_on_the_largest_call(open_engine: Callable[..., Engine]) -> None:
    requests = [random_request(seed) for seed in range(6)]
    pictures = []
    for unet_rows in (2, 16):
        engine = open_engine(device="cuda", unet_rows=unet_rows)
        handles = [engine.submit(request) for request in requests]
        pictures.append([handle.result(120) for handle in handles])
    assert all(same(one, other) for one, other in zip(*pictures, strict=True))


@pytest.mark.parametrize("settings", [{"compile": "off"}, {"dtype": "float32"}, {"batching": "fast"}])
def test_other_forms_make_about_the_same_picture(open_engine: Callable[..., Engine], settings: dict[str, str]) -> None:
    wanted = open_engine(device="cpu").generate(small(steps=2)).latents
    found = open_engine(device="cuda", **settings).generate(small(steps=2)).latents
    assert (found - wanted).norm() / wanted.norm() < 0.2


def test_once_its_chores_are_done_an_engine_meets_nothing_new(open_engine: Callable[..., Engine]) -> None:
    engine = open_engine(device="cuda", unet_rows=4)
    request = small(width=512, height=512, prompt="", negative_prompt="")
    warm = settled(engine)
    for handle in [engine.submit(request) for _ in range(2)]:
        handle.result(120)
    assert engine.counts["shapes"] == warm > 0


def test_larger_exact_calls_are_used_after_a_picture_was_made(
    open_engine: Callable[..., Engine], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        engine = open_engine(device="cuda", unet_rows=4)
        engine.generate(small(width=512, height=512))
        settled(engine)
    said = [record.getMessage() for record in caplog.records if "UNet calls of 4 rows" in record.getMessage()]
    assert [", 77 tokens: used" in line for line in said] == [True]


def test_every_kernel_of_the_first_picture_was_compiled_before(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.loading.chores", lambda *_: [])
    modules = [importlib.import_module(f"engine.networks.{name}") for name in ("kernels", "group_norm")]
    functions = [part.function for module in modules for part in vars(module).values() if isinstance(part, Kernel)]

    def compiled() -> int:
        return sum(len(caches[0]) for function in functions for caches in function.device_caches.values())

    for function in functions:
        function.device_caches.clear()
    engine = open_engine(device="cuda")
    before = compiled()
    engine.generate(small(width=512, height=512))
    assert compiled() == before > len(functions)


def test_without_memory_for_larger_calls_smaller_ones_have_the_same_bits(open_engine: Callable[..., Engine]) -> None:
    engine = open_engine(device="cuda")
    requests = [small(width=512, height=512, seed=seed) for seed in range(8)]
    wanted = [engine.generate(request) for request in requests]
    settled(engine)
    total = torch.cuda.get_device_properties(GPU).total_memory
    try:
        for spare in (0, 2**24, 2**26, 2**28):
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(GPU) + spare) / total)
            for handle, one in zip([engine.submit(request) for request in requests], wanted, strict=True):
                try:
                    assert same(handle.result(120), one)
                except OutOfMemory:
                    assert spare == 0
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert same(engine.generate(requests[0]), wanted[0])


def test_a_checkpoint_that_loads_while_another_one_works_changes_no_bit(open_engine: Callable[..., Engine]) -> None:
    engine = open_engine(device="cuda")
    wanted = {model: engine.generate(small(model=model)) for model in ("tiny", "other")}
    for _ in range(5):
        assert engine.unload("other")
        handles = [engine.submit(small(model=model)) for model in ("tiny", "other") for _ in range(3)]
        for handle in handles:
            result = handle.result(120)
            assert same(result, wanted[result.request.model])
