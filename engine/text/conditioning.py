"""Chunks of tokens → conditioning, cached per prompt.

Knows one checkpoint's text encoder; knows nothing of guidance and of other requests.
"""

from __future__ import annotations

import functools
from collections import OrderedDict

import torch
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel

from engine.device.transfer import to_device
from engine.errors import BadRequest
from engine.networks.graphs import Graphs, Launcher
from engine.text.prompt import EMPTY, Chunk, chunks

_CACHED_CHUNKS = 512


class Conditioner:
    """Encodes prompts with one text encoder and remembers the latest. Not thread-safe: the device's thread owns it."""

    def __init__(self, text_encoder: CLIPTextModel, launcher: Launcher | None = None) -> None:
        self._encoder = text_encoder
        self._device = next(text_encoder.parameters()).device
        self.layers: int = text_encoder.config.num_hidden_layers
        self.width: int = text_encoder.config.hidden_size
        self._launcher = launcher or Launcher()
        self._layer: dict[int, Graphs] = {}  # by clip_skip: tokens → that layer's output
        self._empty: dict[int, Tensor] = {}  # by clip_skip: the empty prompt's features
        self._cache: OrderedDict[tuple[tuple[Chunk, ...], int], Tensor] = OrderedDict()

    def check(self, clip_skip: int) -> None:
        """Raise ``BadRequest`` if this text encoder has no such layer."""
        if clip_skip > self.layers:
            raise BadRequest("clip_skip", clip_skip, f"a whole number from 1 to {self.layers}, the encoder's layers")

    def encode(self, prompt: str, clip_skip: int = 1, field: str = "prompt") -> Tensor:
        """The conditioning of ``prompt``: float32 (1, 77·chunks, width) on the encoder's device.

        Each chunk is encoded alone, so that its features never depend on the others. ``clip_skip`` 1 takes the last
        layer's output, 2 the last but one, …, always with the final layer norm. A token's weight w moves its features
        to ``empty + w·(feature − empty)``, where ``empty`` is the empty prompt's feature at that place.

        Raises ``BadRequest`` for what ``engine.text.prompt.chunks`` refuses and for a layer that is not there.
        """
        self.check(clip_skip)
        parts = chunks(prompt, field)
        key = (parts, clip_skip)
        if key not in self._cache:
            self._cache[key] = torch.cat([self._weighted(chunk, clip_skip) for chunk in parts], dim=1)
            self._forget()
        self._cache.move_to_end(key)
        return self._cache[key]

    def warm_up(self) -> None:
        """Encode the empty prompt for nothing."""
        self._features(EMPTY, 1)

    def _forget(self) -> None:
        held = sum(len(parts) for parts, _ in self._cache)
        while held > _CACHED_CHUNKS and len(self._cache) > 1:
            (parts, _), _ = self._cache.popitem(last=False)
            held -= len(parts)

    def _weighted(self, chunk: Chunk, clip_skip: int) -> Tensor:
        features = self._features(chunk, clip_skip)
        if all(weight == 1.0 for weight in chunk.weights):
            return features
        if clip_skip not in self._empty:
            self._empty[clip_skip] = self._features(EMPTY, clip_skip)
        empty = self._empty[clip_skip]
        weights = to_device(torch.tensor(chunk.weights), self._device)[None, :, None]  # (1, 77, 1)
        return torch.where(weights == 1.0, features, empty + weights * (features - empty))

    @torch.inference_mode()
    def _features(self, chunk: Chunk, clip_skip: int) -> Tensor:
        """(1, 77, width) float32."""
        if clip_skip not in self._layer:
            self._layer[clip_skip] = self._launcher.graphs(functools.partial(_encoded, self._encoder, clip_skip))
        (features,) = self._layer[clip_skip](to_device(torch.tensor([chunk.tokens]), self._device))
        return features.clone()


def _encoded(encoder: CLIPTextModel, clip_skip: int, tokens: Tensor) -> tuple[Tensor]:
    output = encoder(tokens, output_hidden_states=clip_skip > 1)
    if clip_skip == 1:
        return (output.last_hidden_state.float(),)
    return (encoder.final_layer_norm(output.hidden_states[-clip_skip]).float(),)
