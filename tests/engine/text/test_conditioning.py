"""Conditioning: shapes, weights, layers, cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import BadRequest
from engine.checkpoint import load_checkpoint
from engine.networks.graphs import Launcher
from engine.text.conditioning import Conditioner
from tests.engine.networks.test_graphs import FakeRecorder


@pytest.fixture(scope="module")
def conditioner(tiny_checkpoint: Path) -> Conditioner:
    return Conditioner(load_checkpoint(tiny_checkpoint, device=torch.device("cpu"), dtype=torch.float32).text_encoder)


def test_a_chunk_has_77_tokens_and_its_own_features(conditioner: Conditioner) -> None:
    long = conditioner.encode("cat " * 80)
    assert long.shape == (1, 154, 64)
    assert torch.equal(long[:, :77], conditioner.encode("cat " * 75))


def test_weights_interpolate_from_the_empty_prompt(conditioner: Conditioner) -> None:
    empty, plain = conditioner.encode(""), conditioner.encode("cat")

    def weighted(weight: float) -> Tensor:
        return conditioner.encode(f"(cat:{weight})")

    assert torch.equal(weighted(1), plain)
    torch.testing.assert_close(weighted(0)[:, 1], empty[:, 1])
    torch.testing.assert_close(weighted(2)[:, 1], 2 * plain[:, 1] - empty[:, 1])
    assert torch.equal(weighted(2)[:, 2:], plain[:, 2:])


def test_clip_skip_takes_an_earlier_layer(conditioner: Conditioner) -> None:
    last, earlier = conditioner.encode("cat"), conditioner.encode("cat", clip_skip=2)
    assert not torch.allclose(last, earlier)
    torch.testing.assert_close(earlier.mean(-1), last.mean(-1), atol=0.05, rtol=0)  # both through the layer norm
    with pytest.raises(BadRequest, match="clip_skip: 3"):
        conditioner.encode("cat", clip_skip=3)


def test_prompts_are_encoded_once(conditioner: Conditioner) -> None:
    assert conditioner.encode("a dog") is conditioner.encode("a dog")
    assert conditioner.encode("a dog") is not conditioner.encode("a dog", clip_skip=2)


def test_the_cache_forgets_the_oldest(conditioner: Conditioner) -> None:
    first = conditioner.encode("first")
    conditioner.encode("cat " * 75 * 300)
    assert conditioner.encode("first") is first
    conditioner.encode("dog " * 75 * 300)
    conditioner.encode("cow " * 75 * 300)
    again = conditioner.encode("first")
    assert again is not first
    assert torch.equal(again, first)


def test_replayed_encoding_gives_the_same_features(tiny_checkpoint: Path) -> None:
    encoder = load_checkpoint(tiny_checkpoint, device=torch.device("cpu"), dtype=torch.float32).text_encoder
    plain, replayed = Conditioner(encoder), Conditioner(encoder, Launcher(FakeRecorder))
    prompts = ["a cat", "a (red:1.3) dog", "", "cat " * 80]
    kept = [(replayed.encode(prompt, skip), plain.encode(prompt, skip)) for prompt in prompts for skip in (1, 2)]
    assert all(torch.equal(one, other) for one, other in kept)  # later replays have not touched earlier features
