"""The networks: they compute what diffusers' modules compute, and a row's bits do not depend on the others."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.checkpoint import load_checkpoint
from engine.folders import SHIPPED_MODELS
from engine.networks import onednn
from engine.networks.decoder import VaeDecoder
from engine.networks.doubling import before_doubling
from engine.networks.encoder import VaeEncoder
from engine.networks.operations import Operations, operations_for
from engine.networks.unet import Unet
from tests.checkpoints import write_tiny_checkpoint

CPU = torch.device("cpu")


def inputs(rows: int, height: int = 8, width: int = 8, length: int = 77) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, 4, height, width, generator=generator)
    return x, torch.rand(rows, generator=generator) * 999, torch.randn(rows, length, 64, generator=generator)


def close(found: Tensor, wanted: Tensor, bound: float = 1e-4) -> bool:
    return found.shape == wanted.shape and float((found - wanted).norm() / wanted.norm()) < bound


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two blocks a level, and another depth of levels."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("deep") / "deep.safetensors", blocks=2, mult=(1, 2, 4, 4))


def operations_of(form: str, dtype: torch.dtype = torch.float32, unit: int | None = None) -> Operations:
    """``plain``: torch's own operators; ``prepacked``: with weights as oneDNN lays them out."""
    if form == "plain":
        return Operations(unit=unit)
    if not onednn.available(CPU, dtype):
        pytest.skip("this machine's torch has no oneDNN")
    return operations_for(CPU, dtype, fused=False, unit=unit)


@pytest.mark.parametrize("form", ["plain", "prepacked"])
@pytest.mark.parametrize(("height", "width", "length"), [(8, 8, 77), (9, 17, 154), (1, 2, 77)])
@torch.inference_mode()
def test_the_unet_is_that_of_diffusers(deep: Path, form: str, height: int, width: int, length: int) -> None:
    module = load_checkpoint(deep, device=CPU, dtype=torch.float32).unet
    theirs = copy.deepcopy(module)
    x, times, conditioning = inputs(3, height, width, length)
    wanted = theirs(x, times, conditioning, return_dict=False)[0]
    unet = Unet(module, operations_of(form))
    assert close(unet(x, times, conditioning), wanted, 1e-3 if height == 1 else 1e-4)


@pytest.mark.parametrize("form", ["plain", "prepacked"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_rows_of_one_x_are_those_of_many_alike(tiny_checkpoint: Path, dtype: torch.dtype, form: str) -> None:
    module = load_checkpoint(tiny_checkpoint, device=CPU, dtype=dtype).unet
    unet = Unet(module, operations_of(form, dtype))
    x, times, conditioning = (given.to(dtype) for given in inputs(6, 16, 16))
    several = x[::3], times[::3].float(), conditioning  # three conditionings for each of two
    repeated = [given.repeat_interleave(3, dim=0) for given in several[:2]]
    assert close(
        unet(*several).float(), unet(*repeated, conditioning).float(), 1e-5 if dtype == torch.float32 else 2e-2
    )


_SHARED_OUT = """
import torch
from engine.networks.operations import Operations
from engine.networks.trunk import _sinusoids
torch.set_num_threads(3)
operations = Operations(layout=torch.channels_last, unit=1)
norm, tokens = torch.nn.GroupNorm(32, 64), torch.nn.LayerNorm(64)
forms = {
    "group_norm": lambda x: operations.group_norm(x, norm),
    "silu": lambda x: operations.silu(x),
    "layer_norm": lambda x: operations.layer_norm(x.flatten(2).mT.contiguous(), tokens),
    "gated": lambda x: operations.gated(x.flatten(2).mT.contiguous()),
    "sinusoids": lambda x: operations.in_units(_sinusoids, x),
}
with torch.inference_mode():
    x = torch.randn(8, 64, 41, 64, generator=torch.Generator().manual_seed(0)) * 3 + 5
    x = x.contiguous(memory_format=torch.channels_last)
    for name, form in forms.items():
        whole = form(x)
        assert all(torch.equal(whole[i : i + 1], form(x[i : i + 1])) for i in range(8)), name
"""


def test_what_threads_share_out_has_the_same_bits_in_calls_of_any_size() -> None:
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}  # three threads that spin slow each other down
    subprocess.run(
        [sys.executable, "-c", _SHARED_OUT], env=environment, cwd=SHIPPED_MODELS.parent, check=True, timeout=600
    )


@torch.inference_mode()
def test_pairs_are_exact_on_a_device_that_computes_each_number_of_rows_otherwise(monkeypatch: Any) -> None:
    for name in ("conv2d", "linear", "scaled_dot_product_attention"):
        plain = getattr(functional, name)
        monkeypatch.setattr(functional, name, lambda x, *rest, plain=plain: plain(x, *rest) * (1 + len(x) / 1000))
    starter = SHIPPED_MODELS / "starter.safetensors"  # without attention at its first level: pairs share more there
    unet = Unet(load_checkpoint(starter, device=CPU, dtype=torch.float32).unet, Operations(unit=2))
    x, times, conditioning = inputs(4)
    whole = unet(x[:2], times[:2], conditioning)
    assert torch.equal(whole[:2], unet(x[:1], times[:1], conditioning[:2]))
    assert torch.equal(whole[2:], unet(x[1:2], times[1:2], conditioning[2:]))


@pytest.mark.parametrize("form", ["plain", "prepacked"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (16, 12)])
@torch.inference_mode()
def test_a_convolution_before_doubling_is_the_one_after_it(
    dtype: torch.dtype, form: str, height: int, width: int, monkeypatch: Any
) -> None:
    monkeypatch.setattr("engine.networks.operations._LARGE_CONVOLUTION", 0)
    operations = operations_of(form, dtype)
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(16, 24, 3, padding=1).to(dtype)
    x = torch.randn(3, 16, height, width, dtype=dtype).contiguous(memory_format=operations.layout)
    wanted = layer(x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    doubling = before_doubling(layer)
    operations.lay_out(doubling)
    found = operations.convolve_doubled(x, doubling)
    assert found.is_contiguous(memory_format=operations.layout)
    assert close(found.float(), wanted.float(), 1e-5 if dtype == torch.float32 else 2e-2)


@pytest.mark.parametrize("changed", [{"stride": 2}, {"padding": 0}, {"bias": False}, {"kernel_size": 5}])
def test_only_convolutions_that_keep_a_pictures_size_are_taken_before_doubling(changed: dict[str, Any]) -> None:
    layer = torch.nn.Conv2d(8, 8, **({"kernel_size": 3, "padding": 1} | changed))
    with pytest.raises(ValueError, match="not a 3 × 3 convolution"):
        before_doubling(layer)


@torch.inference_mode()
def test_packing_leaves_the_module_as_it_was(tiny_checkpoint: Path) -> None:
    module = load_checkpoint(tiny_checkpoint, device=CPU, dtype=torch.float32).unet
    before = {name: value.clone() for name, value in module.state_dict().items()}
    held = sum(value.numel() for value in before.values())
    Unet(module, Operations())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    storages = {value.untyped_storage().data_ptr(): value.untyped_storage() for value in module.state_dict().values()}
    assert sum(storage.nbytes() for storage in storages.values()) == 4 * held  # nothing is held twice


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_prepacked_weights_are_not_held_twice(tiny_checkpoint: Path, dtype: torch.dtype) -> None:
    module = load_checkpoint(tiny_checkpoint, device=CPU, dtype=dtype).unet
    held = sum(value.numel() for value in module.parameters())
    unet = Unet(module, operations_of("prepacked", dtype))
    packed = [unet._kv, unet._shift, *unet._qkv.values()]
    assert all(weight.is_mkldnn for weight in packed)
    assert sum(value.numel() for value in [*module.parameters(), *packed]) == held
    assert any(value.is_mkldnn for value in module.parameters())


@pytest.mark.parametrize("form", ["plain", "prepacked"])
@torch.inference_mode()
def test_the_decoder_is_that_of_diffusers(tiny_checkpoint: Path, form: str) -> None:
    module = load_checkpoint(tiny_checkpoint, device=CPU, dtype=torch.float32).vae
    latents = torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(0))
    wanted = module.decode(latents, return_dict=False)[0]
    assert close(VaeDecoder(module, operations_of(form))(latents), wanted)


@pytest.mark.parametrize("form", ["plain", "prepacked"])
@pytest.mark.parametrize(("height", "width"), [(40, 56), (8, 8)])
@torch.inference_mode()
def test_the_encoder_is_that_of_diffusers(tiny_checkpoint: Path, form: str, height: int, width: int) -> None:
    module = load_checkpoint(tiny_checkpoint, device=CPU, dtype=torch.float32).vae
    pictures = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    wanted = module.encode(pictures, return_dict=False)[0].mean
    encoder = VaeEncoder(module, operations_of(form))
    assert close(encoder(pictures), wanted)
    assert close(encoder.in_float32()(pictures), wanted)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_prepacked_convolution_is_the_plain_one(dtype: torch.dtype, kernel: int, monkeypatch: Any) -> None:
    monkeypatch.setattr("engine.networks.operations._LARGE_CONVOLUTION", 0)
    operations = operations_of("prepacked", dtype)
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(32, 48, kernel, padding=kernel // 2).to(dtype)
    x = torch.randn(3, 32, 9, 7, dtype=dtype).contiguous(memory_format=operations.layout)
    wanted = layer(x), layer(x) - layer.bias[:, None, None]
    operations.lay_out(torch.nn.ModuleList([layer]))
    assert layer.weight.is_mkldnn
    for bias, expected in zip((True, False), wanted, strict=True):
        out = operations.convolve(x, layer, bias=bias)
        assert out.is_contiguous(memory_format=operations.layout)
        assert close(out.float(), expected.float(), 1e-5 if dtype == torch.float32 else 2e-2)


@pytest.mark.parametrize("form", [pytest.param("plain", marks=pytest.mark.slow), "prepacked"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("each", "calls"), [(1, (2, 3, 4, 7, 8)), (2, (2, 4, 6, 16))], ids=["single", "pairs"])
@torch.inference_mode()
def test_with_a_unit_rows_have_the_same_bits_in_calls_of_any_size(
    tiny_checkpoint: Path, each: int, calls: tuple[int, ...], dtype: torch.dtype, form: str
) -> None:
    module = load_checkpoint(tiny_checkpoint, device=CPU, dtype=dtype).unet
    unet = Unet(module, operations_of(form, dtype, unit=2))
    for rows in calls:
        x, times, conditioning = inputs(rows, 16, 16)
        x, times, conditioning = x[: rows // each].to(dtype), times[: rows // each], conditioning.to(dtype)
        whole = unet(x, times, conditioning)
        for first in range(0, rows - 1, 2):
            pair, own = slice(first, first + 2), slice(first // each, (first + 2) // each)
            assert torch.equal(whole[pair], unet(x[own], times[own], conditioning[pair]))
