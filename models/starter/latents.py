"""Defines what a latent of the starter means: the colour of its 8 × 8 pixels, and how much they vary.

The meaning is given, not learned, so that no stage waits for the autoencoder: its encoder learns to compute these
latents, its decoder to paint from them, and the UNet learns them from the renderer. Values are in the UNet's scale; a
checkpoint's latents are these over ``LATENT_SCALE``.
"""

import torch
from torch import Tensor
from torch.nn import functional

_TURN = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.0, -0.5], [-0.25, 0.5, -0.25]])  # lightness, warm, green
_MEAN = torch.tensor([0.408, -0.018, -0.009, 0.140])
_SPREAD = torch.tensor([0.207, 0.138, 0.055, 0.088])


def latents_of(pictures: Tensor) -> Tensor:
    """Compute the latents of pictures (B, 3, H, W) in [0, 1]: (B, 4, H/8, W/8), each channel with about zero mean and
    unit variance."""
    turn, mean, spread = (t.to(pictures.device) for t in (_TURN, _MEAN, _SPREAD))
    colour = torch.einsum("ij,bjhw->bihw", turn, functional.avg_pool2d(pictures, 8))
    light = pictures.mean(1, keepdim=True)
    variance = functional.avg_pool2d(light.square(), 8) - functional.avg_pool2d(light, 8).square()
    detail = variance.clamp(min=0).add(1e-6).pow(0.25)
    return (torch.cat([colour, detail], dim=1) - mean[:, None, None]) / spread[:, None, None]


def colours_of(latents: Tensor) -> Tensor:
    """Return the coarse picture (B, 3, H/8, W/8) that latents hold, without a decoder."""
    turn, mean, spread = (t.to(latents.device) for t in (_TURN, _MEAN, _SPREAD))
    colour = latents[:, :3] * spread[:3, None, None] + mean[:3, None, None]
    return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(turn), colour)


def colour_matrix() -> tuple[Tensor, Tensor]:
    """Return the matrix (3, 3) and offset (3,) that turn colours in [−1, 1] into the first three channels of
    latents."""
    matrix = _TURN / _SPREAD[:3, None]
    return matrix / 2, (matrix.sum(1) / 2) - _MEAN[:3] / _SPREAD[:3]
