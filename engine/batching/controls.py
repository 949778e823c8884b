"""Controls: what ControlNets and T2I-adapters, shown a picture, add to predictions of the UNet.

A ControlNet is called at each step, with the rows of all trajectories that use it, before the UNet is; a T2I-adapter's
features are made once for a sampling. Knows nothing of guidance and of members.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from engine.batching.calls import Calls
from engine.batching.rows import Row
from engine.pictures.decoder import PIXELS_PER_CELL
from engine.pictures.scaling import resized
from engine.sampling.levels import NoiseLevels

_SOFT_STEP = 0.825
"""What a soft ControlNet's residuals are weighed by, once more for each layer before its last one."""

_SOFT_FEATURES = (0.25, 0.62, 0.825, 1.0)
"""What a soft T2I-adapter's features are weighed by, full resolution first."""

_NOISY_CHANNELS = 4
"""Channels of x that a ControlNet is given; those of inpainting networks beside them are not for it."""


class EmbeddingNetwork(Protocol):
    """What prepares pictures for a ControlNet; ``engine.networks.controlnet.ControlNet`` is the real one."""

    def embedded(self, picture: Tensor, /) -> Tensor: ...


class FeatureNetwork(Protocol):
    """What makes features; ``engine.networks.t2i_adapter.T2iAdapter`` is the real one."""

    def features(self, picture: Tensor, /) -> tuple[Tensor, ...]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Controller(ABC):
    """A ControlNet or T2I-adapter, ready to work."""

    name: str
    """Its file's name."""
    widths: tuple[int, ...]
    """Channels of each level of the UNets that it is for, full resolution first."""
    context: int
    """Features per token that it takes; 0: it takes no tokens."""

    @abstractmethod
    def prepared(self, picture: Tensor, strength: float, *, softly: bool = False) -> tuple[Tensor, ...]:
        """Return what is made once of a picture (1, 3, 8h, 8w), 0 … 1, for x of h × w cells."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlNetController(Controller):
    """A ControlNet and its calls."""

    network: EmbeddingNetwork
    calls: Calls
    averaged: bool = False
    """Whether each residual is the same all over the picture: its mean, as networks trained on shuffled pictures
    want it."""

    @torch.inference_mode()
    def prepared(self, picture: Tensor, strength: float, *, softly: bool = False) -> tuple[Tensor, ...]:
        """Return the embedded picture, (1, c, h, w)."""
        return (self.network.embedded(picture),)

    def weighed(self, residuals: Iterable[Tensor], strength: float, *, softly: bool = False) -> tuple[Tensor, ...]:
        """Return one row's ``residuals``, in the order of the network's layers, as they are added to the UNet's blocks.

        ``softly``: those of the last layer, in the middle, at ``strength``, and 0.825 of that for each layer before it,
        as control modes of AUTOMATIC1111's ControlNet extension have it.
        """
        if self.averaged:
            residuals = [each.mean(dim=(2, 3), keepdim=True).expand_as(each) for each in residuals]
        residuals = tuple(residuals)
        last = len(residuals) - 1
        weights = [strength * _SOFT_STEP ** (last - layer) if softly else strength for layer in range(last + 1)]
        return tuple(each if weight == 1 else each * weight for each, weight in zip(residuals, weights, strict=True))


@dataclass(frozen=True, kw_only=True, eq=False)
class AdapterController(Controller):
    """A T2I-adapter."""

    network: FeatureNetwork

    @torch.inference_mode()
    def prepared(self, picture: Tensor, strength: float, *, softly: bool = False) -> tuple[Tensor, ...]:
        """Return the features for each level, (1, c, h, w), (1, c', h/2, w/2), …, times ``strength``.

        ``softly``: those of higher resolution times less.
        """
        features = self.network.features(picture)
        factors = _SOFT_FEATURES[-len(features) :] if softly else (1.0,) * len(features)
        return tuple(each * (strength * factor) for each, factor in zip(features, factors, strict=True))


@dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """A controller and what it is shown, whatever the size of the pictures that it will control."""

    controller: Controller
    pictures: Tensor
    """(b, H, W, 3) float32, 0 … 1: the pictures of a batch get them in turn."""
    strength: float = 1.0
    softly: bool = False
    """Whether layers of higher resolution are steered less."""
    start: float = 0.0
    """The share of the sampling, 0 … 1, from which on it works."""
    end: float = 1.0
    """The share of the sampling up to which it works."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PartControl:
    """A control of one part of a branch."""

    controller: Controller
    prepared: tuple[Tensor, ...]
    """What the controller made of its pictures once, (1 or B, …) each."""
    strength: float
    softly: bool
    first_sigma: float
    """The largest sigma at which it works."""
    last_sigma: float
    """The smallest one."""

    @property
    def called(self) -> bool:
        """Whether a network is called at each step, rather than once."""
        return isinstance(self.controller, ControlNetController)

    def active(self, sigma: float) -> bool:
        """Return whether it works at ``sigma``; both ends of its range belong to it."""
        return self.last_sigma <= sigma <= self.first_sigma

    def of_pictures(self, pictures: slice) -> PartControl:
        """Return the control for some pictures of the batch."""
        return replace(self, prepared=tuple(each if len(each) == 1 else each[pictures] for each in self.prepared))

    def of(self, picture: int) -> tuple[Tensor, ...]:
        """Return what was prepared for one picture of the batch, (1, …) each."""
        return tuple(each if len(each) == 1 else each[picture : picture + 1] for each in self.prepared)


class Preparation:
    """Makes the controls of the parts of one sampling. What several of them have in common is made once."""

    def __init__(self, count: int, levels: NoiseLevels) -> None:
        """``count``: of the pictures of the batch."""
        self._count = count
        self._levels = levels
        self._made: dict[tuple[object, ...], tuple[Tensor, ...]] = {}

    def control(self, control: Control, height: int, width: int) -> PartControl:
        """Return ``control`` for a part of ``height`` × ``width`` cells, whatever part of the picture that is: the
        control's pictures are cropped at both ends to its aspect ratio, and scaled to it."""
        pictures = control.pictures  # of equal ones, by the place in memory: views are made for each use
        key = (control.controller, pictures.data_ptr(), pictures.shape, height, width, control.strength, control.softly)
        if key not in self._made:
            self._made[key] = self._prepared(control, height, width)
        levels = self._levels
        return PartControl(
            controller=control.controller,
            prepared=self._made[key],
            strength=control.strength,
            softly=control.softly,
            first_sigma=levels.sigma_at_percent(control.start),
            last_sigma=levels.sigma_at_percent(control.end),
        )

    def _prepared(self, control: Control, height: int, width: int) -> tuple[Tensor, ...]:
        pictures = control.pictures[: self._count].permute(0, 3, 1, 2)
        size = height * PIXELS_PER_CELL, width * PIXELS_PER_CELL
        shown = (resized(one, *size, "nearest-exact", crop=True) for one in pictures.split(1))
        made = [control.controller.prepared(one, control.strength, softly=control.softly) for one in shown]
        turns = range(self._count if len(made) > 1 else 1)
        return tuple(torch.cat([each[i % len(made)] for i in turns]) for each in zip(*made, strict=True))


Use: TypeAlias = tuple[PartControl, int]
"""A control at work on a row, and which picture of the batch the row is."""


def controlled(rows: Sequence[Row], uses: Sequence[Sequence[Use]]) -> list[Row]:
    """Return ``rows`` with what their controls add: the sum of the ControlNets' residuals, then that of the adapters'
    features. ``uses``: the active controls of each row."""
    if not any(uses):
        return list(rows)
    residuals: list[tuple[Tensor, ...]] = [()] * len(rows)
    made = _outputs(rows, uses)
    features: list[tuple[Tensor, ...]] = [()] * len(rows)
    for number, own in enumerate(uses):
        for place, (control, picture) in enumerate(own):
            if isinstance(control.controller, ControlNetController):
                added = control.controller.weighed(made[number, place], control.strength, softly=control.softly)
                residuals[number] = _sum(residuals[number], added)
            else:
                features[number] = _sum(features[number], control.of(picture))
    return [
        replace(row, beside_conditioning=(*residuals[number], *features[number])) for number, row in enumerate(rows)
    ]


def _outputs(rows: Sequence[Row], uses: Sequence[Sequence[Use]]) -> dict[tuple[int, int], tuple[Tensor, ...]]:
    """What the ControlNets make of the rows, by the row's number and the control's place among the row's."""
    wanted: dict[ControlNetController, list[tuple[int, int]]] = {}
    for number, own in enumerate(uses):
        for place, (control, _) in enumerate(own):
            if isinstance(control.controller, ControlNetController):
                wanted.setdefault(control.controller, []).append((number, place))
    outputs: dict[tuple[int, int], tuple[Tensor, ...]] = {}
    for controller, places in wanted.items():
        # an owner's rows stay together, whatever is beside them: they are computed in units
        places.sort(key=lambda each: (rows[each[0]].owner, each[1], each[0]))
        outputs |= zip(places, controller.calls.outputs(_control_rows(rows, uses, places)), strict=True)
    return outputs


def _control_rows(rows: Sequence[Row], uses: Sequence[Sequence[Use]], places: Sequence[tuple[int, int]]) -> list[Row]:
    """The rows of a ControlNet's calls. Those that have x in common have it in common here."""
    noisy = {id(rows[number].x): rows[number].x[:, :_NOISY_CHANNELS] for number, _ in places}
    return [
        replace(
            rows[number],
            x=noisy[id(rows[number].x)],
            beside_x=uses[number][place][0].of(uses[number][place][1]),
            beside_conditioning=(),
        )
        for number, place in places
    ]


def _sum(before: tuple[Tensor, ...], added: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(one + other for one, other in zip(before, added, strict=True)) if before else added
