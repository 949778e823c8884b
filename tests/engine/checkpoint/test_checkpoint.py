"""A sound checkpoint loads as asked; values that are no numbers are found."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.checkpoint import inspect_checkpoint, load_checkpoint
from tests.checkpoints import TEXT, UNET, VAE, tiny_checkpoint_tensors, write_tiny_checkpoint
from tests.loading import CPU, load, reason, write

TENSORS = tiny_checkpoint_tensors()
WEIGHTS = {name: tensor for name, tensor in TENSORS.items() if tensor.is_floating_point()}
SOME_WEIGHT = UNET + "input_blocks.1.0.in_layers.2.weight"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("checkpoints") / "tiny.safetensors", TENSORS)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_value_arrives_in_the_dtype_asked_for(tmp_path: Path, stored: torch.dtype, dtype: torch.dtype) -> None:
    tensors = tiny_checkpoint_tensors(dtype=stored)
    path = write(tmp_path / "some.name.safetensors", tensors)
    checkpoint = load(path, dtype)
    assert (checkpoint.name, checkpoint.dtype, checkpoint.device) == ("some.name", dtype, CPU)
    networks = {UNET: checkpoint.unet, VAE: checkpoint.vae, TEXT: checkpoint.text_encoder}
    for prefix, network in networks.items():
        wanted = sorted(
            float(t.to(dtype).double().sum())
            for name, t in tensors.items()
            if name.startswith(prefix) and t.dtype == stored
        )
        assert sorted(float(p.double().sum()) for p in network.parameters()) == wanted
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())
        assert {p.dtype for p in network.parameters()} == {dtype}
        assert not any(t.is_meta for t in [*network.parameters(), *network.buffers()])
    size = sum(p.nbytes for network in networks.values() for p in network.parameters())
    assert checkpoint.size_bytes == inspect_checkpoint(path).size_bytes(dtype) == size


def test_mixed_precision_and_tensors_of_no_concern(tmp_path: Path) -> None:
    mixed = {name: tensor.float() if "norm" in name else tensor for name, tensor in WEIGHTS.items()}
    mixed[SOME_WEIGHT] = mixed[SOME_WEIGHT].bfloat16()
    extras = {
        "model_ema.diffusion_modelinput_blocks00weight": torch.full((3,), torch.nan),
        "model_ema.num_updates": torch.tensor(1),
        "alphas_cumprod": torch.zeros(1000, dtype=torch.float64),
        "betas": torch.zeros(1000),
        VAE + "loss.logvar": torch.zeros(()),
        VAE + "model_ema.decay": torch.zeros(()),
        TEXT + "embeddings.position_ids": torch.arange(77)[None].float() + 0.5,
        "cond_stage_model.logit_scale": torch.zeros(()),
        "cond_stage_model.transformer.text_projection.weight": torch.zeros(64, 64),
        "another.quantized": torch.zeros(3, dtype=torch.float8_e4m3fn),
    }
    checkpoint = load(write(tmp_path / "mixed.safetensors", mixed | extras))
    ids = dict(checkpoint.text_encoder.named_buffers())
    assert [ids[name].tolist() for name in ids] == [[list(range(77))]]
    assert checkpoint.facts == inspect_checkpoint(tmp_path / "mixed.safetensors")
    assert checkpoint.facts.parameters == sum(t.numel() for t in WEIGHTS.values())


def test_loading_draws_no_random_numbers(tiny: Path) -> None:
    before = torch.get_rng_state()
    load(tiny)
    assert torch.equal(before, torch.get_rng_state())


def test_facts_come_from_the_shapes(tmp_path: Path) -> None:
    layout: dict[str, Any] = {"mult": (1, 2, 3), "text_width": 128, "text_layers": 3, "vae_mult": (1, 2, 1, 1)}
    facts = inspect_checkpoint(write_tiny_checkpoint(tmp_path / "other.safetensors", **layout))
    assert (facts.unet_widths, facts.vae_widths) == ((32, 64, 96), (32, 64, 32, 32))
    assert (facts.context_width, facts.text_layers) == (128, 3)


def test_text_encoders_without_text_model_in_their_names(tmp_path: Path, tiny: Path) -> None:
    renamed = {name.replace("text_model.", ""): tensor for name, tensor in TENSORS.items()}
    ours = load(write(tmp_path / "old.safetensors", renamed)).text_encoder
    tokens = torch.tensor([[49406, 5, 49407]])
    assert torch.equal(ours(tokens).last_hidden_state, load(tiny).text_encoder(tokens).last_hidden_state)


def test_one_by_one_convolutions_and_linear_layers_are_the_same(tmp_path: Path, tiny: Path) -> None:
    marks = (".attn_1.", ".proj_in.", ".proj_out.")
    newer = {n: t[:, :, 0, 0] if t.ndim == 4 and any(m in n for m in marks) else t for n, t in TENSORS.items()}
    assert sum(newer[name].shape != TENSORS[name].shape for name in TENSORS) > 8
    ours, theirs = load(write(tmp_path / "newer.safetensors", newer)), load(tiny)
    for mine, other in ((ours.vae, theirs.vae), (ours.unet, theirs.unet)):
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), other.parameters(), strict=True))


def test_a_file_that_is_cut_short_or_written_over_later_changes_nothing(tmp_path: Path) -> None:
    path = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    checkpoint = load(path, torch.float16)
    before = [p.clone() for p in checkpoint.unet.parameters()]
    size = path.stat().st_size
    os.truncate(path, 100)
    os.truncate(path, size)
    assert all(torch.equal(a, b) for a, b in zip(before, checkpoint.unet.parameters(), strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_gpu_holds_what_a_cpu_would(tiny: Path, dtype: torch.dtype) -> None:
    ours, theirs = load_checkpoint(tiny, device=torch.device("cuda"), dtype=dtype), load(tiny, dtype)
    for mine, other in ((ours.unet, theirs.unet), (ours.vae, theirs.vae), (ours.text_encoder, theirs.text_encoder)):
        assert {t.device.type for t in [*mine.parameters(), *mine.buffers()]} == {"cuda"}
        assert all(torch.equal(a.cpu(), b) for a, b in zip(mine.parameters(), other.parameters(), strict=True))


def anonymous_memory() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wide") / "wide.safetensors"
    return write_tiny_checkpoint(path, text_width=512, text_layers=6)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_model_is_never_held_twice(wide: Path, dtype: torch.dtype) -> None:
    before, peak, stop = anonymous_memory(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.is_set():
            peak = max(peak, anonymous_memory())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    checkpoint = load(wide, dtype)
    stop.set()
    watcher.join()
    assert peak - before < 1.3 * checkpoint.size_bytes


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32])
def test_values_that_are_no_numbers_are_named(tmp_path: Path, value: float, stored: torch.dtype) -> None:
    bad = TENSORS[SOME_WEIGHT].to(stored).clone()
    bad[-1, -1, -1, -1] = value
    text = reason(write(tmp_path / "bad.safetensors", TENSORS | {SOME_WEIGHT: bad}), torch.float16)
    assert text == f"its tensor {SOME_WEIGHT} holds NaN or infinite values (1 of 9,216)"


def test_a_value_beyond_the_dtype_is_named(tmp_path: Path) -> None:
    bad = TENSORS[SOME_WEIGHT].float().clone()
    bad[0, 0, 0, 0] = -1e6
    path = write(tmp_path / "large.safetensors", TENSORS | {SOME_WEIGHT: bad})
    text = reason(path, torch.float16)
    assert SOME_WEIGHT in text
    assert "1e+06, beyond the range of torch.float16" in text
    load(path, torch.bfloat16)
