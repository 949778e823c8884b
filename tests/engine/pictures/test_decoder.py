"""The decoder: truncation, half precision, previews."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoint import load_checkpoint
from engine.networks.decoder import VaeDecoder
from engine.networks.graphs import Launcher
from engine.networks.operations import Operations
from engine.networks.steps import completed
from engine.pictures.decoder import SCALE, Decoder, eight_bits, latents_of
from tests.engine.networks.test_graphs import FakeRecorder

CPU = torch.device("cpu")


class LinearVae:
    """Pixels are a linear map of the cell they lie in."""

    dtype = torch.float32
    channels = 128
    matrix = torch.tensor([[0.2, 0.0, 0.1], [0.0, 0.1, 0.0], [-0.1, 0.0, 0.2], [0.0, -0.2, 0.0]]) * SCALE

    def in_float32(self) -> LinearVae:
        return self

    def __call__(self, latents: Tensor) -> Tensor:
        cells = torch.einsum("bchw,cd->bdhw", latents, self.matrix) + 0.1
        return cells.repeat_interleave(8, 2).repeat_interleave(8, 3)


def decoder_of(checkpoint: Path, dtype: torch.dtype) -> Decoder:
    return Decoder(VaeDecoder(load_checkpoint(checkpoint, device=CPU, dtype=dtype).vae, Operations()))


def test_latents_are_x_over_the_scale() -> None:
    assert torch.equal(latents_of(torch.tensor([0.18215])), torch.tensor([1.0]))


def test_pixels_are_clamped_and_truncated() -> None:
    class Fixed(LinearVae):
        def __call__(self, latents: Tensor) -> Tensor:
            return torch.tensor([-3.0, 2 * 100.999 / 255 - 1, 7.0]).reshape(1, 3, 1, 1)

    image, finite = Decoder(Fixed()).decode(torch.zeros(1, 4, 1, 1))
    assert eight_bits(image).tolist() == [[[0, 100, 255]]]
    assert bool(finite)


def test_a_preview_is_the_cells_mean_colour_where_the_decoder_is_linear() -> None:
    decoder = Decoder(LinearVae())
    latents = latents_of(torch.randn(1, 4, 5, 7, generator=torch.Generator().manual_seed(3)))
    image, _ = decoder.decode(latents)
    pixels = eight_bits(image)
    preview = decoder.preview(latents)
    assert preview.shape == (5, 7, 3)
    assert (preview.int() - pixels[::8, ::8].int()).abs().max() <= 1


def test_decoding_in_float32_leaves_the_weights_as_they_were(tiny_checkpoint: Path) -> None:
    vae = load_checkpoint(tiny_checkpoint, device=CPU, dtype=torch.bfloat16).vae
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    latents = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    exact, _ = decoder_of(tiny_checkpoint, torch.float32).decode(latents)
    again, _ = completed(Decoder(VaeDecoder(vae, Operations())).decode_sliced(latents, in_float32=True))
    assert (again.int() - exact.int()).float().abs().mean() < 2  # the weights themselves are bfloat16
    assert all(
        torch.equal(value, before[name]) and value.dtype == torch.bfloat16 for name, value in vae.state_dict().items()
    )


def test_pixels_that_are_not_finite_are_told(tiny_checkpoint: Path) -> None:
    _, finite = decoder_of(tiny_checkpoint, torch.float32).decode(torch.full((1, 4, 2, 2), float("inf")))
    assert not bool(finite)


def test_replayed_decodes_give_the_same_pixels(tiny_checkpoint: Path) -> None:
    vae = load_checkpoint(tiny_checkpoint, device=CPU, dtype=torch.float32).vae
    plain, replayed = (Decoder(VaeDecoder(vae, Operations()), launcher) for launcher in (None, Launcher(FakeRecorder)))
    for seed in range(4):
        latents = torch.randn(1, 4, 5, 6, generator=torch.Generator().manual_seed(seed))
        for one, other in zip(plain.decode(latents), replayed.decode(latents), strict=True):
            assert torch.equal(one, other)
