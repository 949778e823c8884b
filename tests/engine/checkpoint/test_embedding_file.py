"""Embedding files, as programs have written them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engine.checkpoint.embedding_file import embedding_size, load_embedding
from engine.errors import BrokenCheckpoint

VECTORS = torch.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    ("content", "shapes"),
    [
        ({"string_to_param": {"*": VECTORS}, "name": "x", "step": 5}, [(3, 4)]),
        ({"<x>": VECTORS[0]}, [(1, 4)]),
        ([{"a": VECTORS}, {"b": torch.ones(2, 8)}], [(3, 4), (2, 8)]),
    ],
)
def test_what_torch_saved(tmp_path: Path, content: Any, shapes: list[tuple[int, int]]) -> None:
    torch.save(content, tmp_path / "x.pt")
    found = load_embedding(tmp_path / "x.pt")
    assert [tuple(each.shape) for each in found] == shapes
    assert torch.equal(found[0], VECTORS[: shapes[0][0]])
    assert embedding_size(tmp_path / "x.pt") == sum(each.numel() for each in found)


@pytest.mark.parametrize("tensors", [{"emb_params": VECTORS}, {"clip_g": torch.ones(1, 9), "clip_l": VECTORS}])
def test_safetensors(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, tmp_path / "x.safetensors")
    (found,) = load_embedding(tmp_path / "x.safetensors")
    assert torch.equal(found, VECTORS)


@pytest.mark.parametrize(
    ("value", "message"),
    [(torch.full((2, 4), float("nan")), "NaN"), (torch.ones(2, 2, 2), "vectors"), (torch.ones(0, 4), "vectors")],
)
def test_what_holds_no_vectors_is_refused(tmp_path: Path, value: torch.Tensor, message: str) -> None:
    save_file({"emb_params": value}, tmp_path / "x.safetensors")
    with pytest.raises(BrokenCheckpoint, match=message):
        load_embedding(tmp_path / "x.safetensors")
