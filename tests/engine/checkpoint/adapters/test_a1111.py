"""How AUTOMATIC1111 changes a weight where it does otherwise than ComfyUI."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.checkpoint.adapters import a1111, changes


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_product_of_two_factors_is_computed_in_float32() -> None:
    weight, parts = noise(6, 5), {"up": noise(6, 2, seed=1).half(), "down": noise(2, 5, seed=2).half()}
    whole = {name: part.float() for name, part in parts.items()}
    found = a1111.changed(weight, parts, 0.7, 0)
    assert torch.allclose(found, changes.changed(weight.clone(), whole, 0.7), atol=1e-6)
    assert torch.allclose(a1111.changed(weight, parts, 1.0, 1), weight + whole["up"][:, :1] @ whole["down"][:1])


def test_other_kinds_are_computed_in_the_files_own_precision() -> None:
    weight = noise(4, 6).half().float()
    parts = {f"hada_w{i}_{end}": noise(*((4, 2) if end == "a" else (2, 6)), seed=i) for i in (1, 2) for end in "ab"}
    half = {name: part.half() for name, part in parts.items()}
    first, second = (half[f"hada_w{i}_a"] @ half[f"hada_w{i}_b"] for i in (1, 2))
    expected = (weight.half() + first * second * 0.7).float()
    assert a1111.changed(weight, half, 0.7, 0).equal(expected)
    assert torch.allclose(a1111.changed(weight, parts, 0.7, 0), expected, atol=0.02)
    assert a1111.with_difference(weight, half["hada_w1_a"] @ half["hada_w1_b"], 0.5).equal(
        (weight.half() + first * 0.5).float()
    )


@pytest.mark.parametrize("shape", [(6, 1), (1, 5)])
def test_directions_are_divided_by_the_lengths_of_inputs(shape: tuple[int, int]) -> None:
    weight, scale = noise(6, 5), noise(*shape, seed=3).abs()
    parts = {"up": noise(6, 2, seed=1), "down": noise(2, 5, seed=2), "dora_scale": scale}
    merged = weight + parts["up"] @ parts["down"]
    expected = merged / merged.norm(dim=0) * scale
    assert torch.allclose(a1111.changed(weight, parts, 1.0, 0), expected, atol=1e-5)
    assert torch.allclose(a1111.changed(weight, parts, 0.5, 0), (weight + expected) / 2, atol=1e-5)


def test_differences_of_other_shapes_are_refused() -> None:
    for add in (a1111.with_difference, a1111.bias_with_difference):
        with pytest.raises(changes.IncompleteParts):
            add(noise(4), noise(3), 1.0)
