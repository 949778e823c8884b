"""The formulas of adapters, against sums written out element by element."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.checkpoint.adapters.changes import IncompleteParts, changed, with_difference


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def change_of(parts: dict[str, Tensor], shape: tuple[int, ...], strength: float = 1.0) -> Tensor:
    return changed(torch.zeros(shape), parts, strength)


def test_a_product_is_scaled_by_alpha_over_rank_and_the_strength() -> None:
    parts = {"up": noise(6, 2), "down": noise(2, 5, seed=1), "alpha": torch.tensor(3.0)}
    expected = [
        [sum(float(parts["up"][o, r] * parts["down"][r, i]) for r in range(2)) for i in range(5)] for o in range(6)
    ]
    assert torch.allclose(change_of(parts, (6, 5), 0.5), 0.75 * torch.tensor(expected), atol=1e-6)
    del parts["alpha"]
    assert torch.allclose(change_of(parts, (6, 5)), torch.tensor(expected), atol=1e-6)


def test_a_rank_takes_the_first_dimensions_at_the_scale_of_all() -> None:
    parts = {"up": noise(6, 4), "down": noise(4, 5, seed=1), "alpha": torch.tensor(2.0)}
    expected = 0.5 * parts["up"][:, :3] @ parts["down"][:3]
    assert torch.allclose(changed(torch.zeros(6, 5), parts, 1.0, 3), expected, atol=1e-6)
    assert changed(torch.zeros(6, 5), parts, 1.0, 9).equal(change_of(parts, (6, 5)))


def test_a_convolutions_product_with_a_core() -> None:
    up, mid, down = noise(4, 2, 1, 1), noise(2, 3, 3, 3, seed=1), noise(3, 5, 1, 1, seed=2)
    found = change_of({"up": up, "mid": mid, "down": down}, (4, 5, 3, 3))
    for o, i, y, x in itertools.product(range(4), range(5), range(3), range(3)):
        pairs = itertools.product(range(2), range(3))
        expected = sum(float(up[o, r, 0, 0] * mid[r, s, y, x] * down[s, i, 0, 0]) for r, s in pairs)
        assert float(found[o, i, y, x]) == pytest.approx(expected, abs=1e-5)


def test_a_hadamard_product() -> None:
    parts = {f"hada_w{i}_{end}": noise(*((4, 2) if end == "a" else (2, 6)), seed=i) for i in (1, 2) for end in "ab"}
    first, second = (parts[f"hada_w{i}_a"] @ parts[f"hada_w{i}_b"] for i in (1, 2))
    assert torch.allclose(change_of(parts | {"alpha": torch.tensor(1.0)}, (4, 6)), first * second / 2)


def test_a_hadamard_product_with_cores() -> None:
    parts = {f"hada_t{i}": noise(2, 3, 3, 3, seed=i) for i in (1, 2)}
    parts |= {f"hada_w{i}_a": noise(2, 4, seed=i + 2) for i in (1, 2)}
    parts |= {f"hada_w{i}_b": noise(3, 5, seed=i + 4) for i in (1, 2)}
    found = change_of(parts, (4, 5, 3, 3))

    def half(i: int, o: int, n: int, y: int, x: int) -> float:
        t, a, b = (parts[f"hada_{name}"] for name in (f"t{i}", f"w{i}_a", f"w{i}_b"))
        return sum(float(t[p, q, y, x] * b[q, n] * a[p, o]) for p, q in itertools.product(range(2), range(3)))

    for o, n, y, x in itertools.product(range(4), range(5), (0, 2), (1,)):
        assert float(found[o, n, y, x]) == pytest.approx(half(1, o, n, y, x) * half(2, o, n, y, x), abs=1e-4)


def test_a_kronecker_products_alpha_counts_only_with_a_rank() -> None:
    whole = {"lokr_w1": noise(2, 3), "lokr_w2": noise(2, 2, seed=1), "alpha": torch.tensor(7.0)}
    found = change_of(whole, (4, 6))
    for o, i in itertools.product(range(4), range(6)):
        expected = float(whole["lokr_w1"][o // 2, i // 2] * whole["lokr_w2"][o % 2, i % 2])
        assert float(found[o, i]) == pytest.approx(expected, abs=1e-6)
    factors = {"lokr_w2_a": noise(2, 4, seed=2), "lokr_w2_b": noise(4, 2, seed=3)}
    product = factors["lokr_w2_a"] @ factors["lokr_w2_b"]
    parts = {"lokr_w1": whole["lokr_w1"], **factors, "alpha": torch.tensor(2.0)}
    assert torch.allclose(change_of(parts, (4, 6)), change_of(whole | {"lokr_w2": product}, (4, 6)) / 2, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3, 3)])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_lengths_of_inputs_are_those_of_the_changed_weight(shape: tuple[int, ...], strength: float) -> None:
    weight, flat = noise(*shape), torch.Size(shape[1:]).numel()
    parts = {"up": noise(4, 2, seed=1), "down": noise(2, flat, seed=2)}
    lengths = noise(1, 6, seed=3).abs().reshape(1, 6, *[1] * (len(shape) - 2))
    whole = weight + (parts["up"] @ parts["down"]).reshape(shape)
    norms = torch.stack([whole[:, i].norm() for i in range(6)]).reshape(lengths.shape)
    expected = weight + strength * (whole * lengths / norms - weight)
    found = changed(weight.clone(), parts | {"dora_scale": lengths}, strength)
    assert torch.allclose(found, expected, atol=1e-5)


def test_lengths_of_outputs_are_those_of_the_unchanged_weight() -> None:
    weight, lengths = noise(4, 6), noise(4, 1, seed=3).abs()
    parts = {"up": noise(4, 2, seed=1), "down": noise(2, 6, seed=2)}
    norms = torch.stack([weight[o].norm() for o in range(4)])[:, None]
    expected = (weight + parts["up"] @ parts["down"]) * lengths / norms
    assert torch.allclose(changed(weight.clone(), parts | {"dora_scale": lengths}, 1.0), expected, atol=1e-5)


def test_a_whole_difference_may_be_a_convolution_where_the_weight_is_linear() -> None:
    assert torch.equal(with_difference(torch.ones(2, 3), torch.ones(2, 3, 1, 1), 0.5), torch.full((2, 3), 1.5))
    with pytest.raises(IncompleteParts, match=r"\(3, 2\)"):
        with_difference(torch.ones(2, 3), torch.ones(3, 2), 1.0)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"up": noise(4, 2)}, "down is missing"),
        ({"down": noise(2, 4)}, "up is missing"),
        ({"up": noise(4, 2), "down": noise(3, 6)}, "do not fit together"),
        ({"up": noise(6, 2), "down": noise(2, 4)}, r"\(6, 4\) for a weight of \(4, 6\)"),
        ({"up": noise(4, 2), "down": noise(2, 6), "alpha": noise(2)}, "one number"),
        ({"up": noise(4, 2), "down": noise(2, 6), "dora_scale": noise(1, 5)}, "5 lengths"),
        ({"hada_w1_a": noise(4, 2)}, "is missing"),
    ],
)
def test_parts_that_make_no_change_are_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(IncompleteParts, match=message):
        change_of(parts, (4, 6))
