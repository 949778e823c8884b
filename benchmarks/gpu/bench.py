"""What the parts of a run share: the device, the networks, the time that is left, and the file of what was found."""

from __future__ import annotations

import functools
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.census import Census
from benchmarks.gpu.timing import Call
from benchmarks.measuring.floor import Ceilings
from benchmarks.measuring.machine import measure_peaks
from engine.checkpoint import Checkpoint, load_checkpoint
from engine.networks.decoder import VaeDecoder
from engine.networks.operations import Operations, operations_for
from engine.networks.unet import Unet

CACHED = 200 << 20
"""Bytes beyond those that any card's cache holds."""


@dataclass(kw_only=True)
class Bench:
    """One run. ``simulated`` is for a machine without a GPU: everything is small, and the times mean nothing."""

    path: Path
    checkpoint_path: Path
    device: torch.device
    dtype: torch.dtype
    simulated: bool
    ends: float
    """When the run is to be over, by ``time.monotonic``."""
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.ends - time.monotonic()

    @property
    def cells(self) -> int:
        """Latent cells along each side: of 512 × 512 pixels, or fewer where it is simulated."""
        return 8 if self.simulated else 64

    def keep(self, part: str, found: Any) -> None:
        """Write what a part found to the file, which is there whole at every moment."""
        self.found["parts"][part] = found
        self.write()

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".partial")
        temporary.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self.path)

    @functools.cached_property
    def ceilings(self) -> Ceilings:
        """The card's best rates."""
        return measure_peaks(self.device, self.dtype, side=256 if self.simulated else None).ceilings

    @functools.cached_property
    def checkpoint(self) -> Checkpoint:
        return load_checkpoint(self.checkpoint_path, device=self.device, dtype=self.dtype)

    def operations(self, unit: int | None = None) -> Operations:
        """The engine's operations: with ``unit`` exact ones, else fast ones."""
        if self.simulated:
            return Operations(layout=torch.channels_last, unit=unit)
        return operations_for(self.device, self.dtype, fused=True, unit=unit)

    @functools.cached_property
    def unet(self) -> Unet:
        """The UNet with fast operations."""
        return Unet(self.checkpoint.unet, self.operations())

    @functools.cached_property
    def decoder(self) -> VaeDecoder:
        return VaeDecoder(self.checkpoint.vae, self.operations())

    def step(self, rows: int, unet: Unet | None = None) -> Call:
        """A UNet call of ``rows`` rows, two for each picture, on inputs of its own."""
        network, pictures = unet or self.unet, max(1, rows // 2)
        x = self.random(pictures, network.inputs, self.cells, self.cells)
        times = torch.linspace(900, 100, pictures, device=self.device)
        conditioning = self.random(rows, 77, self.checkpoint.facts.context_width)
        return lambda: network(x, times, conditioning)

    def decode(self, rows: int) -> Call:
        """A decode of ``rows`` pictures' latents."""
        latents = self.random(rows, 4, self.cells, self.cells)
        return lambda: self.decoder(latents)

    def census(self, call: Call) -> Census:
        """Count the operations of ``call``."""
        census = Census()
        with census:
            call()
        return census

    def random(self, *size: int, scale: float = 1.0) -> Tensor:
        """Random values of the bench's dtype, on its device; pictures are channels_last."""
        x = torch.randn(size, device=self.device).mul_(scale).to(self.dtype)
        return x.contiguous(memory_format=torch.channels_last) if len(size) == 4 else x

    def copies(self, size: int) -> int:
        """How many sets of tensors of ``size`` bytes no cache holds at once."""
        return 1 if self.simulated else max(2, min(12, CACHED // max(1, size)))
