"""Node class → the function that carries it out, and what such functions are given and may ask for.

A function is called with its node and a ``Bench``, and returns what the node stands for. Where it needs the device for
long it is a generator: it yields a ``Wish`` and goes on when that is fulfilled. Knows no node.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

import torch
from torch import Tensor

from engine.batching.trajectory import Trajectory
from engine.device.transfer import Errand, Fetch
from engine.errors import BadRequest
from engine.pictures.inputs import InputPicture
from engine.running.model import (
    WITH_TEXT_ENCODER,
    WITH_VAE,
    Autoencoder,
    Model,
    Network,
    Networks,
    TextEncoder,
)
from engine.running.observer import Observer
from engine.text.embeddings import Embedding
from engine.workflow import models as nodes
from engine.workflow import text
from engine.workflow.node import Node
from engine.workflow.weights import Weights

N = TypeVar("N", bound=Node)
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class LatentBatch:
    """Latents as they travel between nodes."""

    samples: Tensor
    """float32 (B, 4, h, w) on the device, as the VAE takes them (divided by 0.18215)."""
    indices: tuple[int, ...] | None = None
    """Which pictures of a larger batch they are, for the noise that they begin from; None: all of their own batch."""
    denoised: Tensor | None = None
    """The latest denoised prediction, as ``samples``, of latents that a sampling made."""
    noise_mask: Tensor | None = None
    """Where they are painted anew, float32 (b, H, W), 0 … 1, in a size of its own, on the device; None: everywhere."""
    seen: str = "noised"
    """What the network sees where they are not: the latents with noise of the level at hand, or see
    ``WithKeptLatents``."""


@dataclass(frozen=True, eq=False)
class PictureBatch:
    """Pictures as they travel between nodes. Masks travel as tensors, float32 (B, h, w), on the device."""

    pixels: Tensor
    """float32 (B, h, w, 3 or 4) on the device, 0 … 1, but for bicubic scaling, which goes a little beyond."""
    eight_bits: Sequence[Fetch] = ()
    """The same as uint8 (h, w, 3) each, on their way to the CPU, where they were decoded: most are shown next."""


@dataclass(frozen=True)
class Pause:
    """A wish to let others use the device before this goes on."""


@dataclass(frozen=True, eq=False)
class Until:
    """A wish to go on once ``fetches`` have arrived on the CPU, or when the device has nothing else to do."""

    fetches: Sequence[Fetch | Errand[Any]]

    @property
    def ready(self) -> bool:
        """Whether all have arrived."""
        return all(fetch.ready() for fetch in self.fetches)


Wish: TypeAlias = Trajectory | Pause | Until
"""What a function may yield. After a ``Trajectory`` it is sent the final x."""

Course: TypeAlias = Generator[Wish, Any, Any]


@dataclass(frozen=True, eq=False)
class Bench:
    """What a function works with: the device, the resident models, and what was made already."""

    device: torch.device
    resident: Mapping[Node, Any]
    """What is resident, by the nodes that stand for it. A node that only other weights are made of is not."""
    values: dict[Node, Any]
    observer: Observer
    owner: Hashable = None
    """Who the workflow belongs to; owners take turns at the device."""
    inputs: Mapping[str, InputPicture] = field(default_factory=dict)
    """The pictures that were handed in, by the names that the workflow has for them."""
    tiled: Set[Node] = frozenset()
    """The nodes that work in tiles, an upscaler in smaller ones, for want of memory."""
    cached: set[Node] = field(default_factory=set)
    """The nodes whose values were there from earlier workflows."""

    def __getitem__(self, node: Node) -> Any:
        """Return what ``node`` stands for."""
        return self.values[node]

    def embedding(self, name: str) -> Embedding | None:
        """Return the embedding that prompts call ``name``; None where no file has that name."""
        return self._embeddings().get(name)

    def embeddings(self) -> dict[str, Embedding]:
        """Return the embeddings that are resident, by the bare names of their files."""
        return {text.bare_name(name): value for name, value in self._embeddings().items()}

    def _embeddings(self) -> dict[str, Embedding]:
        return {node.name: value for node, value in self.resident.items() if isinstance(node, text.Embedding)}

    def network(self, node: nodes.Model) -> Network:
        """Return the network that ``node`` stands for."""
        value: Network | Networks = self.values[node]
        return value.network if isinstance(value, Networks) else value

    def text_encoder(self, node: nodes.Clip) -> TextEncoder:
        """Return the text encoder that ``node`` stands for. Raises ``BadRequest`` for a checkpoint without one."""
        value: TextEncoder | Networks | None = self.values[node]
        value = value.text_encoder if isinstance(value, Networks) else value
        if value is None:
            raise BadRequest("name", _name(node), WITH_TEXT_ENCODER, node=node)
        return value

    def autoencoder(self, node: nodes.Vae) -> Autoencoder:
        """Return the VAE that ``node`` stands for. Raises ``BadRequest`` for a checkpoint without one."""
        value: Autoencoder | Networks | None = self.values[node]
        value = value.autoencoder if isinstance(value, Networks) else value
        if value is None:
            raise BadRequest("name", _name(node), WITH_VAE, node=node)
        return value


def in_slices(
    work: Generator[None, None, T], around: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Generator[Wish, Any, T]:
    """Return what ``work`` returns, each slice of it within ``around()``; where it yields, others use the device."""
    while True:
        with around():
            try:
                next(work)
            except StopIteration as end:
                made: T = end.value
                return made
        yield Pause()


_FUNCTIONS: dict[type[Node], Callable[[Any, Bench], Any]] = {}


def carries_out(kind: type[N]) -> Callable[[Callable[[N, Bench], Any]], Callable[[N, Bench], Any]]:
    """Register the decorated function as the one that carries out nodes of ``kind``."""

    def registered(function: Callable[[N, Bench], Any]) -> Callable[[N, Bench], Any]:
        assert kind not in _FUNCTIONS, kind
        _FUNCTIONS[kind] = function
        return function

    return registered


def function_of(node: Node) -> Callable[[Any, Bench], Any]:
    """Return the function that carries ``node`` out."""
    return _resident if isinstance(node, Weights) else _FUNCTIONS[type(node)]


def _resident(node: Weights, bench: Bench) -> Any:
    """What was loaded for ``node``. A model made from another keeps the patches of that one, of several the first's."""
    value = bench.resident.get(node)
    below = next((source for source in node.sources() if isinstance(source, nodes.Model)), None)
    if isinstance(node, nodes.Model) and below is not None:
        return dataclasses.replace(bench.network(below), denoiser=cast(Any, getattr(value, "denoiser", None)))
    if value is None and isinstance(node, nodes.Model):
        return Network(cast(Any, None))  # others are made of its weights: it only has what patches add to it
    if isinstance(value, Model):
        return Networks(
            Network(value.denoiser),
            None if value.own_conditioner is None else TextEncoder(value.own_conditioner),
            None if value.own_decoder is None else Autoencoder(value.decoder, value.encoder),
        )
    return value


def _name(node: Node) -> str | None:
    """The file that a checkpoint's node names."""
    return node.name if isinstance(node, nodes.Checkpoint) else None
