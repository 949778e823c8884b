"""How an adapter changes one weight: products of low-rank, Hadamard and Kronecker factors, and whole differences.

LoRA (Hu et al. 2021, arXiv 2106.09685), LoCon, LoHa and LoKr (Yeh et al. 2023, LyCORIS, arXiv 2309.14859), DoRA
(Liu et al. 2024, arXiv 2402.09353). Everything is float32. Knows no file and no name of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from engine.checkpoint.copying import by_pieces, product

Parts = Mapping[str, Tensor]
"""A layer's tensors in float32, by what they are: ``up``, ``down``, ``alpha``, ``hada_w1_a``, …"""


class IncompleteParts(Exception):
    """A layer's tensors make no change: one is missing, or their shapes do not fit. The message says which."""


def changed(weight: Tensor, parts: Parts, strength: float, rank: int = 0) -> Tensor:
    """Return ``weight`` with a layer's change added ``strength`` times; may be the same memory.

    A product of two factors takes the first ``rank`` of their dimensions, and all where that is 0. Raises
    ``IncompleteParts``.
    """
    product = difference_of(parts, weight.shape, rank)
    if product is None:
        return weight
    scale, difference = product
    if "dora_scale" in parts:
        return _decomposed(weight, scale * difference, parts["dora_scale"], strength)
    by_pieces(lambda part, change: part.add_((strength * scale) * change), weight, difference)
    return weight


def with_difference(weight: Tensor, difference: Tensor, strength: float) -> Tensor:
    """Return ``weight`` with a whole difference added ``strength`` times; the same memory. Raises
    ``IncompleteParts``."""
    if difference.shape != weight.shape and _flat(difference.shape) != _flat(weight.shape):
        raise IncompleteParts(f"a difference of {tuple(difference.shape)} for a weight of {tuple(weight.shape)}")
    by_pieces(lambda part, change: part.add_(strength * change), weight, difference)
    return weight


def difference_of(parts: Parts, shape: torch.Size, rank: int = 0) -> tuple[float, Tensor] | None:
    """Return a factor and what it is multiplied with, in the shape of the weight. None for parts that make no product.

    ``rank`` as in ``changed``; the factor is that of all dimensions. Raises ``IncompleteParts``.
    """
    for mark, computed in _PRODUCTS.items():
        if any(part.startswith(mark) for part in parts):
            try:
                whole, difference = computed(_cut(parts, rank))
            except KeyError as error:
                raise IncompleteParts(f"the tensor {error.args[0]} is missing") from None
            except RuntimeError:
                shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in parts.items())
                raise IncompleteParts(f"the shapes of its tensors do not fit together: {shapes}") from None
            if difference.numel() != shape.numel() or difference.shape[0] != shape[0]:
                found = tuple(difference.shape)
                raise IncompleteParts(f"a change of {found} for a weight of {tuple(shape)}")
            return _scale(parts, parts["down"].shape[0] if "down" in parts else whole), difference.reshape(shape)
    return None


def _cut(parts: Parts, rank: int) -> Parts:
    if not rank or not {"up", "down"} <= set(parts) or "mid" in parts:
        return parts
    return {**parts, "up": parts["up"][:, :rank], "down": parts["down"][:rank]}


def _scale(parts: Parts, rank: int) -> float:
    if "alpha" not in parts or not rank:
        return 1.0
    if parts["alpha"].numel() != 1:
        raise IncompleteParts(f"an alpha of shape {tuple(parts['alpha'].shape)}, which should be one number")
    return float(parts["alpha"]) / rank


def _low_rank(parts: Parts) -> tuple[int, Tensor]:
    up, down = parts["up"], parts["down"]
    if "mid" in parts:
        difference = torch.einsum("or,rsyx,si->oiyx", up.flatten(1), parts["mid"], down.flatten(1))
        return down.shape[0], difference
    return down.shape[0], product(up.flatten(1), down.flatten(1))


def _hadamard(parts: Parts) -> tuple[int, Tensor]:
    first, second = (
        _tucker(parts[f"hada_t{i}"], parts[f"hada_w{i}_a"], parts[f"hada_w{i}_b"])
        if f"hada_t{i}" in parts
        else product(parts[f"hada_w{i}_a"], parts[f"hada_w{i}_b"])
        for i in (1, 2)
    )
    return parts["hada_w1_b"].shape[0], first * second


def _kronecker(parts: Parts) -> tuple[int, Tensor]:
    """A rank of 0 where both factors are whole: their ``alpha`` counts for nothing."""
    rank = 0
    if "lokr_w1" in parts:
        first = parts["lokr_w1"]
    else:
        first = parts["lokr_w1_a"] @ parts["lokr_w1_b"]
        rank = parts["lokr_w1_b"].shape[0]
    if "lokr_w2" in parts:
        second = parts["lokr_w2"]
    else:
        rank = parts["lokr_w2_b"].shape[0]
        if "lokr_t2" in parts:
            second = _tucker(parts["lokr_t2"], parts["lokr_w2_a"], parts["lokr_w2_b"])
        else:
            second = parts["lokr_w2_a"] @ parts["lokr_w2_b"]
    if second.dim() == 4:
        first = first[..., None, None]
    return rank, torch.kron(first, second.contiguous())


_PRODUCTS: Mapping[str, Callable[[Parts], tuple[int, Tensor]]] = {
    "up": _low_rank,
    "down": _low_rank,
    "hada_": _hadamard,
    "lokr_": _kronecker,
}
"""By how the names of their parts begin: a layer's rank, and the product."""


def _tucker(core: Tensor, outer: Tensor, inner: Tensor) -> Tensor:
    """A core (i, j, y, x) with factors (i, p) and (j, r) → (p, r, y, x)."""
    return torch.einsum("ijyx,jr,ip->pryx", core, inner, outer)


def _decomposed(weight: Tensor, difference: Tensor, scale: Tensor, strength: float) -> Tensor:
    """Rescaled to lengths of its own: one for each output, by the unchanged weight's, or one for each input."""
    by_output = scale.shape[0] == weight.shape[0]
    lengths = scale.numel(), weight.shape[0 if by_output else 1]
    if lengths[0] != lengths[1]:
        raise IncompleteParts(f"{lengths[0]} lengths (dora_scale) for a weight of {tuple(weight.shape)}")
    whole = weight + difference
    ones = [1] * (weight.dim() - 1)
    if by_output:
        shape, norm = (-1, *ones), weight.flatten(1).norm(dim=1)
    else:
        shape, norm = (1, -1, *ones[1:]), whole.transpose(0, 1).flatten(1).norm(dim=1)
    norm = norm + torch.finfo(weight.dtype).eps
    whole *= (scale.flatten() / norm).reshape(shape)
    return whole if strength == 1 else weight + strength * (whole - weight)


def _flat(shape: torch.Size) -> tuple[int, int]:
    """A 1 × 1 convolution is a linear layer."""
    return shape[0], shape.numel()
