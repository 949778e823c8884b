"""Finds edges in pictures as Canny does: the hints of the ControlNet, and what the lines of an ink drawing follow.

Knows no scenes and no networks.
"""

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

_LIGHT = (0.299, 0.587, 0.114)
_AHEAD = ((0, 1), (1, 1), (1, 0), (1, -1))  # the next pixel (down, right) across an edge, by eighths of a turn


def light(pictures: Tensor) -> Tensor:
    """Return the luma (B, 1, H, W) of pictures (B, 3, H, W)."""
    return torch.einsum("c,bchw->bhw", torch.tensor(_LIGHT, device=pictures.device), pictures)[:, None]


def blurred(pictures: Tensor, sigma: float) -> Tensor:
    """Return (B, C, H, W) blurred by a Gaussian of ``sigma`` pixels, with the border repeated outside."""
    reach = max(1, round(3 * sigma))
    steps = torch.arange(-reach, reach + 1, device=pictures.device, dtype=pictures.dtype)
    weights = torch.exp(-((steps / sigma) ** 2) / 2)
    weights = (weights / weights.sum()).expand(pictures.shape[1], 1, 1, -1)
    padded = functional.pad(pictures, (reach,) * 4, mode="replicate")
    across = functional.conv2d(padded, weights, groups=pictures.shape[1])
    return functional.conv2d(across, weights.transpose(2, 3), groups=pictures.shape[1])


@torch.no_grad()
def canny(pictures: Tensor, low: float, high: float) -> Tensor:
    """Return lines one pixel wide, 1 on 0, (B, 1, H, W), where any channel of pictures (B, C, H, W) in [0, 1] changes.

    Canny 1986 (doi 10.1109/TPAMI.1986.4767851) with the scale of ComfyUI's Canny node: ``low`` and ``high`` bound the
    Sobel gradient of what was blurred by one pixel, in which a sharp step from 0 to 1 measures 2.6. In each pixel the
    steepest channel counts, so pass ``light(pictures)`` for what that node gives.
    """
    down, right, slope = _steepest(blurred(pictures, 1.0))
    eighths = torch.round(torch.atan2(down, right) / (math.pi / 4)).long() % 4
    padded, (height, width) = functional.pad(slope, (1, 1, 1, 1)), slope.shape[-2:]
    crest = torch.zeros_like(slope, dtype=torch.bool)
    for eighth, (y, x) in enumerate(_AHEAD):
        ahead = padded[..., 1 + y : 1 + y + height, 1 + x : 1 + x + width]
        behind = padded[..., 1 - y : 1 - y + height, 1 - x : 1 - x + width]
        crest |= (eighths == eighth) & (slope > ahead) & (slope >= behind)
    return _connected(crest & (slope > low), crest & (slope > high)).float()


def _steepest(pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the Sobel gradient of the steepest channel: downwards, to the right, and its length, (B, 1, H, W)."""
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=pictures.device)
    padded = functional.pad(pictures.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    both = functional.conv2d(padded, torch.stack([kernel.T, kernel])[:, None]).unflatten(0, pictures.shape[:2])
    slope = both.square().sum(2).sqrt()  # (B, C, H, W)
    most = slope.argmax(1, keepdim=True)
    return both[:, :, 0].gather(1, most), both[:, :, 1].gather(1, most), slope.gather(1, most)


def _connected(weak: Tensor, strong: Tensor) -> Tensor:
    """Return the weak pixels of lines that contain a strong one."""
    lines = []
    for some, sure in zip(weak.cpu().numpy()[:, 0], strong.cpu().numpy()[:, 0], strict=True):
        numbers, _ = ndimage.label(some, np.ones((3, 3)))
        lines.append(np.isin(numbers, numbers[sure]))
    return torch.from_numpy(np.stack(lines))[:, None].to(weak.device)
