"""A batch of evaluations → the predictions of their parts: the only place that calls the UNet.

Knows rows and networks; knows nothing of samplers, guidance, requests and ticks.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from engine.batching.branches import Part
from engine.batching.calls import Calls, NetworkFunction
from engine.batching.controls import Use, controlled
from engine.batching.rows import Row, may_share, repeated
from engine.networks.graphs import Launcher
from engine.networks.hints import Hints
from engine.networks.layout import Layout
from engine.networks.patches import Patches
from engine.pictures.decoder import PIXELS_PER_CELL
from engine.sampling.parametrization import EPS, Parametrization

_MOST_PATCHED = 16
"""Patched UNets whose calls are remembered, with their graphs and what is known of exactness."""


class UnetFunction(Protocol):
    """What the denoiser needs of a UNet; ``engine.networks.unet.Unet`` is the real one."""

    dtype: torch.dtype
    channels: int
    inputs: int
    """Channels of x and of what lies beside it: 4, or 9 for inpainting."""
    attentions: Layout

    def __call__(self, x: Tensor, times: Tensor, conditioning: Tensor, /, *added: Tensor) -> Tensor:
        """x (P, c, h, w), times (P,), conditioning (R, L, width) → (R, 4, h, w); each x is R/P consecutive rows'.

        ``added``: what controls add to each row, (R, …) each.
        """

    def patched(self, patches: Patches, /) -> NetworkFunction: ...

    def pieces(self, rows: int) -> Mapping[int, int]: ...


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a trajectory asks to be predicted: one x, for each of the parts of its branches."""

    x: Tensor
    """Noisy latents in sigma scale, float32 (B, 4, h, w) on the device."""

    sigma: Tensor
    """Noise level of ``x``, float32 () on the CPU, above 0."""

    parts: tuple[Part, ...]
    """One prediction each; at least one."""

    parametrization: Parametrization = EPS

    @property
    def rows(self) -> int:
        """Rows of UNet calls that this takes."""
        return self.x.shape[0] * len(self.parts)

    @property
    def work(self) -> float:
        """What it costs, about, in the unit of ``engine.batching.work``."""
        sigma, pictures, cells = float(self.sigma), self.x.shape[0], math.prod(self.x.shape[2:])
        return pictures * sum(part.work(cells, sigma) for part in self.parts)


class Denoiser:
    """One model's UNet. Not thread-safe: the device's thread owns it.

    ``sizes``, rising, are the numbers of rows that a call may have. In exact mode they are multiples of the first.
    """

    def __init__(
        self,
        unet: UnetFunction,
        *,
        exact: bool,
        sizes: Sequence[int],
        launcher: Launcher | None = None,
        hints: Hints | None = None,
    ) -> None:
        self._unet = unet
        self._exact = exact
        self._sizes = tuple(sizes)
        self._launcher = launcher or Launcher()
        self._hints = hints or Hints()
        self._calls = self._calls_of(unet)
        self._patched: OrderedDict[Patches, Calls] = OrderedDict()

    @property
    def network(self) -> UnetFunction:
        """The UNet."""
        return self._unet

    def with_network(self, unet: UnetFunction, launcher: Launcher) -> Denoiser:
        """Return a denoiser for a UNet with the same layers, which calls it in the same sizes and adds to the same
        hints."""
        return Denoiser(unet, exact=self._exact, sizes=self._sizes, launcher=launcher, hints=self._hints)

    @property
    def form(self) -> str:
        """How calls are run: ``graph`` replays them, ``eager`` launches their operations one by one."""
        return self._calls.form

    @property
    def channels(self) -> int:
        """Channels of the first level of the network."""
        return self._unet.channels

    @property
    def inputs(self) -> int:
        """Channels that the network takes: 4, or 9 for inpainting."""
        return self._unet.inputs

    @property
    def attentions(self) -> Layout:
        """Where the network attends."""
        return self._unet.attentions

    def peak_bytes(self, width: int, height: int) -> int:
        """About what one UNet call for pictures of ``width`` × ``height`` pixels takes beside the weights."""
        return self._calls.peak_bytes((width // PIXELS_PER_CELL) * (height // PIXELS_PER_CELL))

    def pictures_at_once(self, parts: int) -> int:
        """Return how many pictures of a batch fit into one UNet call if each has ``parts`` parts."""
        return max(1, self._sizes[-1] // max(1, parts))

    def with_common_length(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """Return ``parts`` as evaluations take them: repeated to a common length where that is not much longer."""
        lengths = {part.conditioning.shape[1] for part in parts}
        if len(lengths) <= 1 or not may_share(lengths):
            return parts
        length = math.lcm(*lengths)
        return tuple(replace(part, conditioning=repeated(part.conditioning, length)) for part in parts)

    def groups(self, evaluation: Evaluation) -> frozenset[Hashable]:
        """Evaluations with a group in common are worth being handed to ``predict`` together: their x, or windows of
        it, are of one size."""
        lengths = frozenset(part.conditioning.shape[1] for part in evaluation.parts) if self._exact else None
        return frozenset((id(self), *_size_of(part, evaluation.x), lengths) for part in evaluation.parts)

    @torch.inference_mode()
    def predict(self, evaluations: Sequence[Evaluation]) -> list[list[tuple[Tensor, ...]]]:
        """For each part of each evaluation the network's output, float32 (B, 4, h, w) of the part's window, and what a
        patched network returns beside it. Rows of one size share calls, be it a whole picture's or a window's.

        In exact mode an evaluation's parts have the same length whatever is beside them, and its rows are computed to
        the same bits whatever is beside them. In fast mode calls are as large as they can be. Raises ``OutOfMemory``.
        """
        rows: list[Row] = []
        patches: list[Patches] = []
        uses: list[list[Use]] = []
        for owner, evaluation in enumerate(evaluations):
            rows += self._rows_of(evaluation, owner)
            patches += [part.patches for part in evaluation.parts] * evaluation.x.shape[0]
            uses += _uses_of(evaluation)
        outputs = iter(self._outputs(controlled(rows, uses), patches))
        self._hints.save_when_due()
        return [
            _by_part(len(evaluation.parts), list(itertools.islice(outputs, evaluation.rows)))
            for evaluation in evaluations
        ]

    @torch.inference_mode()
    def warm_up(self, rows: int, x: Tensor, conditioning: Tensor, *, paired: bool) -> None:
        """Make a call of ``rows`` rows of such x (1, c, h, w) and conditioning (1, 77·n, width) for nothing.

        ``paired``: as for pictures with guidance, whose two rows have x in common. A larger exact call is tried out
        first, and not made where it is not to be used. Does nothing where no call has that size, or memory does not
        suffice.
        """
        self._calls.warm_up(rows, Row(0, x.to(self._unet.dtype), 0.0, conditioning, paired))

    def _calls_of(self, unet: UnetFunction | NetworkFunction) -> Calls:
        return Calls(_Float32(unet), exact=self._exact, sizes=self._sizes, launcher=self._launcher, hints=self._hints)

    def _calls_for(self, patches: Patches) -> Calls:
        """The calls of the UNet with ``patches``; those that were used least recently are forgotten."""
        if not patches:
            return self._calls
        if patches not in self._patched:
            if len(self._patched) >= _MOST_PATCHED:
                self._patched.popitem(last=False)[1].close()
            self._patched[patches] = self._calls_of(self._unet.patched(patches))
        self._patched.move_to_end(patches)
        return self._patched[patches]

    def _rows_of(self, evaluation: Evaluation, owner: int) -> Iterator[Row]:
        """Picture by picture a row for each part. Parts of the same input have it in common."""
        scaled = evaluation.parametrization.network_input(evaluation.x, evaluation.sigma)
        time, parts, dtype = evaluation.parametrization.time(evaluation.sigma), evaluation.parts, self._unet.dtype
        inputs = {_input_of(part): _network_input(scaled, part).to(dtype) for part in parts}
        for picture in range(evaluation.x.shape[0]):
            own = {key: x[picture : picture + 1] for key, x in inputs.items()}
            for part in parts:
                yield Row(owner, own[_input_of(part)], time, part.conditioning, beside_x=part.beside)

    def _outputs(self, rows: Sequence[Row], patches: Sequence[Patches]) -> list[tuple[Tensor, ...]]:
        """What the UNet, patched for each row as it is to be, makes of the rows."""
        if not any(patches):
            return self._calls.outputs(rows)
        outputs: dict[int, tuple[Tensor, ...]] = {}
        for each in dict.fromkeys(patches):
            own = [i for i, wanted in enumerate(patches) if wanted == each]
            outputs |= zip(own, self._calls_for(each).outputs([rows[i] for i in own]), strict=True)
        return [outputs[i] for i in range(len(rows))]


def _uses_of(evaluation: Evaluation) -> Iterator[list[Use]]:
    """The active controls of each of its rows, in the order of ``_rows_of``."""
    active = [part.controls_at(float(evaluation.sigma)) for part in evaluation.parts]
    for picture in range(evaluation.x.shape[0]):
        yield from ([(control, picture) for control in own] for own in active)


class _Float32:
    """A UNet whose outputs are float32."""

    def __init__(self, unet: UnetFunction | NetworkFunction) -> None:
        self._unet = unet
        self.dtype = unet.dtype
        self.channels = unet.channels

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self._unet(*inputs)
        return (outputs.float(),) if isinstance(outputs, Tensor) else tuple(output.float() for output in outputs)

    def pieces(self, rows: int) -> Mapping[int, int]:
        return self._unet.pieces(rows)


def _input_of(part: Part) -> Hashable:
    """What tells the network's x for ``part`` from that for another one."""
    return part.window, None if part.channels is None else id(part.channels)


def _size_of(part: Part, x: Tensor) -> tuple[int, int]:
    """Height and width of the network's input for ``part``, in cells."""
    return (x.shape[2], x.shape[3]) if part.window is None else (part.window.height, part.window.width)


def _network_input(x: Tensor, part: Part) -> Tensor:
    """The network's input for ``part``, (B, c, window), from x (B, 4, h, w), scaled."""
    if part.channels is not None:
        x = torch.cat([x, part.channels.expand(x.shape[0], -1, -1, -1)], dim=1)
    return x if part.window is None else part.window.of(x)


def _by_part(count: int, outputs: list[tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
    """Rows in the order of ``_rows_of`` → (B, …) for each output of each of ``count`` parts."""
    if len(outputs) == count:
        return outputs
    return [tuple(torch.cat(each) for each in zip(*outputs[part::count], strict=True)) for part in range(count)]
