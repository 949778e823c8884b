"""The bytes of all tensors that a pool holds: a further model with a LoRA costs what the LoRA changes, measured."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine import Engine, EngineConfig
from engine.checkpoint.structure import structures_of
from engine.running.loading import source_of
from engine.workflow.models import Checkpoint, ClipWithLora, WithLora
from engine.workflow.weights import Weights
from tests.adapters import low_rank

_LEVELS = 1000 * 8
"""Bytes of the table of noise levels, which all models share."""

_OUTSIDE = (type, types.ModuleType)


def reachable(root: object) -> Iterator[Tensor]:
    """Every tensor that ``root`` keeps alive; not what its classes and its functions' modules hold."""
    seen, waiting = {id(root)}, [root]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Tensor):
            yield each
        own = each.__closure__ or () if isinstance(each, types.FunctionType) else gc.get_referents(each)
        for other in own:
            if id(other) not in seen and not isinstance(other, _OUTSIDE):
                seen.add(id(other))
                waiting.append(other)


def held_bytes(engine: Engine) -> int:
    """Bytes of the memory of the tensors of all that is resident, each piece of memory counted once."""
    storages: dict[int, int] = {}
    for tensor in reachable([place.value for place in engine._pool._places.values()]):
        if tensor.is_mkldnn:  # it has no storage that torch knows, and nobody else has a view of it
            storages[id(tensor)] = tensor.numel() * tensor.element_size()
        elif not tensor.is_meta:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(storages.values())


@pytest.fixture
def lora(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """A LoRA of all attention layers, as most are."""
    tensors: dict[str, Tensor] = {}
    for kind, prefix in (("unet", "lora_unet_"), ("text_encoder", "lora_te_text_model_")):
        for name, shape in structures_of(tiny_checkpoint)[kind].shapes.items():  # type: ignore[index]
            layer = name.removesuffix(".weight").removeprefix("text_model.")
            if len(shape) == 2 and layer.endswith(("to_q", "to_k", "to_v", "to_out.0", "q_proj", "fc1")):
                tensors |= low_rank(prefix + layer.replace(".", "_"), *shape, rank=1)
    path = tmp_path / "lora.safetensors"
    save_file(tensors, path)
    return path


def nodes(checkpoint: Path, lora: Path, strength: float) -> list[Weights]:
    base = Checkpoint(name=str(checkpoint))
    return [
        WithLora(model=base, name=str(lora), strength=strength),
        ClipWithLora(clip=base, name=str(lora), strength=strength),
    ]


def made(engine: Engine, *wanted: Weights) -> int:
    """Have ``wanted`` resident, and return the bytes that the pool holds then."""
    lease = engine._pool.acquire(*map(source_of, wanted))
    lease.resident.result(60)
    lease.release()
    return held_bytes(engine)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_each_further_model_with_a_lora_costs_what_it_changes(tiny_checkpoint: Path, lora: Path, dtype: Any) -> None:
    with Engine(EngineConfig(device="cpu", dtype=dtype)) as engine:
        base = made(engine, Checkpoint(name=str(tiny_checkpoint)))
        first = made(engine, *nodes(tiny_checkpoint, lora, 1.0)) - base
        second = made(engine, *nodes(tiny_checkpoint, lora, 0.5)) - base - first
        counted = sum(engine._loader.size_of(source_of(node)) for node in nodes(tiny_checkpoint, lora, 0.5))
        parameters = [structure.shapes for structure in structures_of(tiny_checkpoint).values()]
    whole = sum(torch.Size(shape).numel() for shapes in parameters for shape in shapes.values())
    itemsize = getattr(torch, dtype).itemsize
    assert base >= whole * itemsize
    assert second == counted
    assert 0 <= first - counted <= _LEVELS
    assert second < base / 4
