"""What the fused kernels must hold to, on a GPU or in Triton's interpreter."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from engine.checkpoint import load_checkpoint
from engine.networks.decoder import VaeDecoder
from engine.networks.doubling import before_doubling
from engine.networks.encoder import VaeEncoder
from engine.networks.operations import Operations
from engine.networks.unet import Unet

PLAIN = Operations(layout=torch.channels_last)


def pictures(rows: int, channels: int, height: int, width: int, like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(channels + height)
    x = torch.randn(rows, channels, height, width, generator=generator) * 2 + 3
    return x.to(like.device, like.dtype, memory_format=torch.channels_last)


def close(found: Tensor, wanted: Tensor, bound: float) -> bool:
    error = (found.double() - wanted.double()).norm() / wanted.double().norm()
    return found.shape == wanted.shape and bool(error < bound)


@torch.inference_mode()
def check_kernels(ours: Operations, channels: int, height: int, width: int, like: Tensor) -> None:
    """They compute what torch computes; ``like`` has the device and the dtype to do so in."""
    device, dtype, bound = like.device, like.dtype, 2e-3 if like.dtype == torch.float16 else 1e-5
    x = pictures(2, channels, height, width, like)
    group = nn.GroupNorm(32, channels, device=device, dtype=dtype)
    layer = nn.LayerNorm(channels, device=device, dtype=dtype)
    convolution = nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)
    doubling = before_doubling(convolution)
    for parameter in (*group.parameters(), *layer.parameters()):
        parameter.copy_(torch.randn_like(parameter))
    for convolved in (convolution, doubling):
        ours.lay_out(convolved)
    shift = torch.randn(2, channels, device=device, dtype=dtype)
    for given in (None, shift, shift[0]):
        wanted = PLAIN.group_norm(x.double(), group.double(), shift=None if given is None else given.double())
        found = ours.group_norm(x, group.to(dtype), shift=given)
        assert close(found, wanted, bound)
        own = given if given is None or given.dim() == 1 else given[1:]
        assert torch.equal(ours.group_norm(x[1:], group, shift=own), found[1:])
    tokens = torch.randn(2, 9, channels, device=device, dtype=dtype)
    for found, wanted in zip(
        ours.add_layer_norm(tokens, tokens, layer), PLAIN.add_layer_norm(tokens, tokens, layer), strict=True
    ):
        assert close(found, wanted, bound)
    assert close(ours.layer_norm(tokens, layer), PLAIN.layer_norm(tokens, layer), bound)
    assert close(ours.gated(tokens), PLAIN.gated(tokens), bound)
    assert close(ours.convolve_add(x, convolution, x), PLAIN.convolve_add(x, convolution, x), bound)
    doubled = PLAIN.convolve(PLAIN.enlarge(x, (2 * height, 2 * width)), convolution)
    assert close(ours.convolve_doubled(x, doubling), doubled, bound)


@torch.inference_mode()
def check_unet(ours: Operations, path: Path, latents: int, cells: int, like: Tensor, bound: float) -> None:
    """The UNet with kernels is the one without, on two rows of one or two ``latents``."""
    module = load_checkpoint(path, device=like.device, dtype=like.dtype).unet
    plain, fused = (Unet(module, operations) for operations in (PLAIN, ours))
    conditioning = torch.randn(2, 77, 64, device=like.device, dtype=like.dtype)
    x, times = pictures(latents, 4, cells, cells, like), torch.tensor([1.0, 999.0][:latents], device=like.device)
    assert close(fused(x, times, conditioning), plain(x, times, conditioning), bound)


@torch.inference_mode()
def check_encoder(ours: Operations, path: Path, cells: int, like: Tensor, bound: float) -> None:
    """The encoder with kernels is the one without."""
    module = load_checkpoint(path, device=like.device, dtype=like.dtype).vae
    plain, fused = (VaeEncoder(module, operations) for operations in (PLAIN, ours))
    whole = pictures(1, 3, 8 * cells, 8 * cells, like)
    assert close(fused(whole), plain(whole), bound)


@torch.inference_mode()
def check_decoder(ours: Operations, path: Path, cells: int, like: Tensor, bound: float) -> None:
    """The decoder with kernels is the one without."""
    module = load_checkpoint(path, device=like.device, dtype=like.dtype).vae
    plain, fused = (VaeDecoder(module, operations) for operations in (PLAIN, ours))
    latents = pictures(1, 4, cells, cells, like)
    assert close(fused(latents), plain(latents), bound)
