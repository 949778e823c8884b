"""Networks in steps: the same result as at once, in steps that are as small as was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.checkpoint import load_checkpoint
from engine.networks import steps
from engine.networks.decoder import VaeDecoder
from engine.networks.encoder import VaeEncoder
from engine.networks.operations import Operations

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _small_pictures_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_UNCUT", 0)


LAYOUTS = [torch.contiguous_format, torch.channels_last]


def networks(checkpoint: Path, layout: torch.memory_format) -> list[tuple[VaeDecoder | VaeEncoder, Tensor]]:
    """Both halves of the VAE, each with something to work on."""
    vae = load_checkpoint(checkpoint, device=CPU, dtype=torch.float32).vae
    random = torch.Generator().manual_seed(0)
    decoder, encoder = (kind(vae, Operations(layout=layout)) for kind in (VaeDecoder, VaeEncoder))
    latents, pictures = torch.randn(1, 4, 7, 5, generator=random), torch.rand(1, 3, 56, 40, generator=random)
    return [(decoder, latents), (encoder, pictures * 2 - 1)]


def sizes_of(work: Any) -> tuple[list[int], Tensor]:
    """The sizes of the steps, and what they make."""
    sizes = []
    while True:
        try:
            sizes.append(next(work))
        except StopIteration as end:
            return sizes, end.value


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.inference_mode()
def test_small_steps_make_what_one_makes(
    layout: torch.memory_format, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for network, given in networks(tiny_checkpoint, layout):
        few, whole = sizes_of(network.steps(given))
        most = max(few) // 5
        with monkeypatch.context() as patch:
            patch.setitem(steps.MOST, "cpu", most)
            many, parts = sizes_of(network.steps(given))
        assert len(many) > len(few)
        assert max(many) < max(few) / 2
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)
        assert sum(many) == pytest.approx(sum(few), rel=0.01)


@pytest.mark.parametrize("height", [1, 2, 7, 12])
@pytest.mark.parametrize("strips", [2, 5, 100])
@torch.inference_mode()
def test_strips_of_a_convolution_have_their_neighbours(
    height: int, strips: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = torch.Generator().manual_seed(height)
    layer = torch.nn.Conv2d(3, 4, 3, padding=1)
    x = torch.randn(1, 3, height, 6, generator=random)
    operations, whole = Operations(), layer(x)
    monkeypatch.setitem(steps.MOST, "cpu", max(1, 3 * 4 * 9 * height * 6 // strips))
    many, made = sizes_of(steps.convolve(operations, x, layer))
    assert len(many) >= min(height, strips)
    assert sum(many) == 3 * 4 * 9 * height * 6
    torch.testing.assert_close(made, whole)


@torch.inference_mode()
def test_attention_to_all_pixels_is_the_same_for_some_at_a_time(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (decoder, _), _ = networks(tiny_checkpoint, torch.contiguous_format)
    assert isinstance(decoder, VaeDecoder)
    layer = decoder._decoder.mid_block.attentions[0]
    x = torch.randn(1, layer.to_q.in_features, 6, 6, generator=torch.Generator().manual_seed(1))
    (one,), whole = sizes_of(steps.attend(Operations(), layer, x))
    monkeypatch.setitem(steps.MOST, "cpu", one // 4)
    many, made = sizes_of(steps.attend(Operations(), layer, x))
    assert many == [one // 4] * 4
    torch.testing.assert_close(made, whole)


def test_slices_are_gathered_up_to_the_most() -> None:
    def work() -> Any:
        for size in sizes:
            yield size
            done.append(size)
        return "made"

    unit = steps.MOST["cpu"] // 4
    sizes, done = [unit, unit, 3 * unit, 9 * unit, unit, unit, unit], list[int]()
    at_pauses = []
    pauses = steps.in_slices(work(), CPU)
    while True:
        try:
            next(pauses)
            at_pauses.append(len(done))
        except StopIteration as end:
            assert end.value == "made"
            break
    assert at_pauses == [2, 3, 4]
    assert done == sizes
