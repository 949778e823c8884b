"""Whose generator noise is that of, whatever device samples. Knows no tensor."""

from __future__ import annotations

from typing import Literal, get_args

NoiseDevice = Literal["cpu", "cuda"]
"""``cpu``: torch's generator on a CPU. ``cuda``: the one of a CUDA device, computed here on the CPU."""

NOISE_DEVICES: tuple[NoiseDevice, ...] = get_args(NoiseDevice)

MOST_CUDA_NUMBERS = 82 * 1536
"""Threads that an RTX 3090 runs at a time: 125,952. A CUDA device draws one number a thread of a tensor of at most as
many numbers as it has threads, in an order that all cards share; a larger tensor's order depends on the card. A card
with fewer threads than an RTX 3090 leaves the shared order earlier."""
