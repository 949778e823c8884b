"""Nodes for models that are changed without other weights: how their output is read, how they guide and attend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.parameters import Flag, Number, OneOf, WholeNumber, parameter
from engine.workflow.models import Model
from engine.workflow.node import Node, link

_FACTOR = Number(0, 10)
_METHOD = OneOf(("bicubic", "nearest-exact", "bilinear", "area", "bislerp"))


class Reading(Model):
    """A model whose output is read in another way than Stable Diffusion 1's."""

    model: Model


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DiscreteReading(Reading):
    """A model whose output is not, or not only, the noise; it has training timesteps."""

    model: Model = link(Model)
    sampling: str = parameter(
        "eps", OneOf(("eps", "v_prediction", "lcm", "x0", "img_to_img")), "what the network predicts"
    )
    zsnr: bool = parameter(False, Flag(), "whether nothing of the picture is left at the last timestep (2305.08891)")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ContinuousReading(Reading):
    """A model that was trained at every noise level between two ends (Karras et al. 2022, 2206.00364)."""

    model: Model = link(Model)
    sampling: str = parameter("v_prediction", OneOf(("v_prediction", "edm", "eps")), "what the network predicts")
    sigma_max: float = parameter(120.0, Number(0, 1000, above_low=True), "the largest noise level")
    sigma_min: float = parameter(
        0.002, Number(0, 1000, above_low=True), "the smallest noise level, above 0 and below the largest"
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RescaledGuidance(Model):
    """A model whose guidance does not make pictures brighter and more contrasty than the positive prompt alone would
    (Lin et al. 2023, 2305.08891)."""

    model: Model = link(Model)
    multiplier: float = parameter(0.7, Number(0, 1), "how much of guidance is rescaled")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PerturbedAttention(Model):
    """A model that is also guided away from what it predicts without looking around (Ahn et al. 2024, 2403.17377)."""

    model: Model = link(Model)
    scale: float = parameter(3.0, Number(0, 100), "how strongly; 0 is not at all")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SelfAttention(Model):
    """A model that is also guided away from what it predicts where it looks most, blurred (Hong et al. 2022,
    2210.00939)."""

    model: Model = link(Model)
    scale: float = parameter(0.5, Number(-2, 5), "how strongly; 0 is not at all")
    blur_sigma: float = parameter(
        2.0, Number(0, 10, above_low=True), "the standard deviation of the blur in latent cells, above 0"
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FreeU(Model):
    """A model whose own features count more than what is handed past them (Si et al. 2023, 2309.11497)."""

    model: Model = link(Model)
    b1: float = parameter(1.1, _FACTOR, "the factor of its own features at the lowest level")
    b2: float = parameter(1.2, _FACTOR, "the same at the level above")
    s1: float = parameter(0.9, _FACTOR, "the factor of the lowest frequencies of what is handed past the lowest level")
    s2: float = parameter(0.2, _FACTOR, "the same at the level above")
    version: int = parameter(1, WholeNumber(1, 2), "2: the first factors depend on how strong the features are")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class HyperTile(Model):
    """A model whose self-attention looks at parts of the picture only, for speed (github.com/tfernd/HyperTile)."""

    model: Model = link(Model)
    tile_size: int = parameter(256, WholeNumber(1, 2048), "the least side of a tile in pixels; at least 32 are taken")
    swap_size: int = parameter(2, WholeNumber(1, 128), "among how many sizes of tiles is drawn")
    max_depth: int = parameter(0, WholeNumber(0, 10), "the lowest level that is tiled; 0 is the first alone")
    scale_depth: bool = parameter(False, Flag(), "whether tiles are the larger, the lower the level")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TokenMerging(Model):
    """A model in whose self-attention tokens that are alike are one, for speed (Bolya & Hoffman 2023, 2303.17604)."""

    model: Model = link(Model)
    ratio: float = parameter(0.3, Number(0, 1), "the share of the tokens that are merged into others")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DeepShrink(Model):
    """A model that begins a large picture as a smaller one, so that it has one composition (Kohya 2023)."""

    model: Model = link(Model)
    block_number: int = parameter(3, WholeNumber(1, 32), "behind which of the network's blocks the picture is shrunk")
    downscale_factor: float = parameter(2.0, Number(0.1, 9), "by how much; below 1 it is enlarged")
    start_percent: float = parameter(0.0, Number(0, 1), "the share of the sampling from which on it is shrunk")
    end_percent: float = parameter(0.35, Number(0, 1), "the share up to which it is shrunk")
    downscale_after_skip: bool = parameter(True, Flag(), "whether what is handed past the block keeps its size")
    downscale_method: str = parameter("bicubic", _METHOD, "how it is shrunk")
    upscale_method: str = parameter("bicubic", _METHOD, "how it is enlarged again")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EnlargedByTwo(Model):
    """A model that enlarges by two on its way up and cuts to size then, as AUTOMATIC1111 does."""

    model: Model = link(Model)


def chain_of(model: Node) -> Iterator[Node]:
    """Yield ``model`` and what it is made from, as far as its patches count: of several models the first."""
    node: Node | None = model
    while node is not None:
        yield node
        node = next((each for each in node.sources() if isinstance(each, Model)), None)
