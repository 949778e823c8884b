"""What only a GPU can show: the kernels, the graphs, and that exact stays exact."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine import Engine, OutOfMemory
from engine.batching import trials as trials_module
from engine.device.devices import settle
from engine.networks.compiling import Kernel
from engine.networks.operations import Operations, operations_for
from tests.engine.networks.kernel_checks import check_decoder, check_encoder, check_kernels, check_unet
from tests.engine.running.test_chores import settled
from tests.requests import random_request, same, small

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore"),
]
GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _larger_calls_are_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_module, "_WISHES_BEFORE_TRYING", 1)


def fused(dtype: torch.dtype) -> Operations:
    settle(GPU)  # or convolutions would round to TF32
    operations = operations_for(GPU, dtype, fused=True)
    assert operations._kernels is not None
    return operations


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize(
    ("channels", "height", "width"),
    [(320, 64, 64), (960, 17, 33), (640, 16, 16), (2560, 8, 8), (32, 1, 2), (128, 200, 96), (64, 181, 182)],
)
def test_kernels_compute_what_torch_computes(channels: int, height: int, width: int, dtype: torch.dtype) -> None:
    check_kernels(fused(dtype), channels, height, width, torch.zeros((), device=GPU, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_networks_with_kernels_are_those_without(tiny_checkpoint: Path, dtype: torch.dtype) -> None:
    bound = 1e-4 if dtype == torch.float32 else 5e-2  # one row of two values each makes group norms of noise
    like = torch.zeros((), device=GPU, dtype=dtype)
    for latents in (1, 2):
        check_unet(fused(dtype), tiny_checkpoint, latents, 32, like, bound)
    check_decoder(fused(dtype), tiny_checkpoint, 32, like, bound)
    check_encoder(fused(dtype), tiny_checkpoint, 32, like, bound)


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
    assert [", 77 tokens: used" in line for line in said] == [True, True]  # of pairs, and of rows that share no x


def test_every_kernel_of_the_first_picture_was_compiled_before(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.running.residents.checkpoints.chores", lambda *_: [])
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
