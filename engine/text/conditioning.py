"""Chunks of tokens → conditioning, cached per prompt.

Knows one checkpoint's text encoder; knows nothing of guidance and of other requests.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from transformers.masking_utils import create_causal_mask
from transformers.models.clip.modeling_clip import CLIPTextModel

from engine.device.transfer import to_device
from engine.errors import BadRequest
from engine.networks.graphs import Graphs, Launcher
from engine.networks.sharing import sharing_copy
from engine.text.embeddings import Lookup, Vector
from engine.text.prompt import CHUNK, EMPTY, Chunk, chunks

_CACHED_CHUNKS = 512

_Texts: TypeAlias = tuple[tuple[Chunk, ...], ...]
_Key: TypeAlias = tuple[str, tuple[int, ...], _Texts, int]
"""How weights count, which text follows which, the chunks of each, and ``clip_skip``."""


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
        self._cache: OrderedDict[_Key, tuple[Tensor, ...]] = OrderedDict()
        self.encoded = 0
        """The number of prompts that were encoded; those that it remembered do not count."""

    def with_values(self, values: Mapping[str, Tensor], launcher: Launcher) -> Conditioner:
        """Return a conditioner for a text encoder with other values for some parameters; it shares all other
        tensors."""
        return Conditioner(sharing_copy(self._encoder, values), launcher)

    def check(self, clip_skip: int) -> None:
        """Raise ``BadRequest`` if this text encoder has no such layer."""
        if clip_skip > self.layers:
            raise BadRequest("clip_skip", clip_skip, f"a whole number from 1 to {self.layers}, the encoder's layers")

    def encode(self, prompt: str, clip_skip: int = 1, field: str = "prompt", lookup: Lookup | None = None) -> Tensor:
        """Return the conditioning of ``prompt``: float32 (1, 77·chunks, width) on the encoder's device.

        Each chunk is encoded alone, so that its features never depend on the others. ``clip_skip`` 1 takes the last
        layer's output, 2 the last but one, …, always with the final layer norm. A token's weight w moves its features
        to ``empty + w·(feature − empty)``, where ``empty`` is the empty prompt's feature at that place. ``lookup``
        finds the embeddings that the prompt names.

        Raises ``BadRequest`` for what ``engine.text.prompt.chunks`` refuses and for a layer that is not there.
        """
        self.check(clip_skip)
        parts = chunks(prompt, field, lookup, self.width)
        key = ("interpolated", (1,), (parts,), clip_skip)
        (encoded,) = self._cached(
            key, lambda: (torch.cat([self._weighted(chunk, clip_skip) for chunk in parts], dim=1),)
        )
        return encoded

    def encode_together(
        self, texts: Sequence[tuple[Chunk, ...]], order: Sequence[int], clip_skip: int = 1, emphasis: str = "original"
    ) -> tuple[Tensor, ...]:
        """Return the conditioning of the texts of one AUTOMATIC1111 prompt: float32 (1, 77·chunks, width) each, on the
        encoder's device.

        All have the same number of chunks. A token's weight multiplies its features, unless ``emphasis`` is ``ignore``
        or ``none``. Where it is ``original``, the features of all texts for one chunk are then scaled so that their
        mean over ``order``, which text follows which, is what it was. Raises ``BadRequest`` for a layer that is not
        there.
        """
        self.check(clip_skip)
        columns = list(zip(*texts, strict=True))
        key = (f"multiplied: {emphasis}", tuple(order), tuple(texts), clip_skip)
        return self._cached(
            key,
            lambda: torch.cat([self._multiplied(each, order, clip_skip, emphasis) for each in columns], dim=1).split(1),
        )

    def warm_up(self) -> None:
        """Encode the empty prompt for nothing."""
        self._features(EMPTY, 1)

    def _cached(self, key: _Key, encode: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        if key not in self._cache:
            self._cache[key] = encode()
            self.encoded += 1
            held = sum(map(_chunk_count, self._cache))
            while held > _CACHED_CHUNKS and len(self._cache) > 1:
                oldest, _ = self._cache.popitem(last=False)
                held -= _chunk_count(oldest)
        self._cache.move_to_end(key)
        return self._cache[key]

    def _weighted(self, chunk: Chunk, clip_skip: int) -> Tensor:
        features = self._features(chunk, clip_skip)
        if all(weight == 1.0 for weight in chunk.weights):
            return features
        if clip_skip not in self._empty:
            self._empty[clip_skip] = self._features(EMPTY, clip_skip)
        empty = self._empty[clip_skip]
        weights = to_device(torch.tensor(chunk.weights), self._device)[None, :, None]  # (1, 77, 1)
        return torch.where(weights == 1.0, features, empty + weights * (features - empty))

    def _multiplied(self, chunks: Sequence[Chunk], order: Sequence[int], clip_skip: int, emphasis: str) -> Tensor:
        """The weighted features of one chunk of each text, (texts, 77, width)."""
        features = torch.cat([self._features(chunk, clip_skip) for chunk in chunks])
        if emphasis in ("ignore", "none") or all(weight == 1.0 for chunk in chunks for weight in chunk.weights):
            return features
        weights = to_device(torch.tensor([chunk.weights for chunk in chunks]), self._device)[..., None]
        weighted = features * weights
        if emphasis == "no_norm":
            return weighted
        rows = to_device(torch.tensor(order), self._device)
        return weighted * (features[rows].mean() / weighted[rows].mean())

    @torch.inference_mode()
    def _features(self, chunk: Chunk, clip_skip: int) -> Tensor:
        """(1, 77, width) float32."""
        vectors = {i: token.features() for i, token in enumerate(chunk.tokens) if isinstance(token, Vector)}
        tokens = torch.tensor([[0 if isinstance(token, Vector) else token for token in chunk.tokens]])
        inputs = [to_device(tokens, self._device)]
        if vectors:
            replaced, features = torch.zeros(1, CHUNK, 1, dtype=torch.bool), torch.zeros(1, CHUNK, self.width)
            for place, vector in vectors.items():
                replaced[0, place], features[0, place] = True, vector
            inputs += [to_device(replaced, self._device), to_device(features, self._device)]
        if clip_skip not in self._layer:
            self._layer[clip_skip] = self._launcher.graphs(functools.partial(_encoded, self._encoder, clip_skip))
        (encoded,) = self._layer[clip_skip](*inputs)
        return encoded.clone()


def _chunk_count(key: _Key) -> int:
    return sum(map(len, key[2]))


def _encoded(
    encoder: CLIPTextModel,
    clip_skip: int,
    tokens: Tensor,
    replaced: Tensor | None = None,
    vectors: Tensor | None = None,
) -> tuple[Tensor]:
    """The features of tokens (1, n), of which ``vectors`` (1, n, width) stand in some places, (1, n, 1).

    Of the last layer, or with ``clip_skip`` of an earlier one; either passes the final norm.
    """
    inputs = encoder.embeddings.token_embedding(tokens)
    if replaced is not None and vectors is not None:
        inputs = torch.where(replaced, vectors.to(inputs.dtype), inputs)
    hidden = encoder.embeddings(inputs_embeds=inputs)
    mask = create_causal_mask(config=encoder.config, inputs_embeds=hidden, attention_mask=None, past_key_values=None)
    layers = encoder.encoder.layers
    for layer in layers[: len(layers) - clip_skip + 1]:
        hidden = layer(hidden, mask, is_causal=True)
    return (encoder.final_layer_norm(hidden).float(),)
