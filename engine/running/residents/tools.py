"""What loaders work with: the device, the precision, and what networks are run by. Knows no node and no file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from engine.config import EngineConfig
from engine.device.transfer import Aside
from engine.networks.graphs import CudaRecorder, Launcher, Recorder, Tally
from engine.networks.hints import Hints
from engine.networks.operations import Operations, operations_for

if TYPE_CHECKING:
    from engine.running.chores import Chore
    from engine.running.model import Model


class Tools:
    """What the loaders of one engine share."""

    def __init__(
        self,
        config: EngineConfig,
        device: torch.device,
        dtype: torch.dtype,
        offer: Callable[[Model, Sequence[Chore]], None],
    ) -> None:
        self.config = config
        self.device = device
        self.dtype = dtype
        """Of the networks."""
        self.offer = offer
        """Takes a model with graphs, and what it can do in idle time to have them."""
        self.tally = Tally()
        """Of all networks."""
        self.gpu = device.type == "cuda"
        self.fused = self.gpu and config.compile != "off"
        self.exact = config.batching == "exact"
        self.sizes = config.call_sizes(gpu=self.gpu)
        """The row counts that UNet calls may have."""
        self.unit = self.sizes[0] if self.exact else None
        self.half_text = config.text_encoder == "float16"
        """Whether the text encoder's weights are rounded to float16 where the networks are in float32."""
        self.aside = Aside(device)
        self.compiled = False
        """Whether kernels were compiled ahead."""

    def launcher(self) -> Launcher:
        """Return what runs the functions of a network; each network has its own."""
        return Launcher(self._recorder, self.tally)

    def operations(self, *, by_rows: bool = False, hints: Hints | None = None, of_pixels: bool = False) -> Operations:
        """Return the operations of a network; ``by_rows`` keeps rows to the same bits, in exact mode, in calls of any
        size.

        ``of_pixels``: of a network that pixels enter.
        """
        unit = self.unit if by_rows else None
        return operations_for(self.device, self.dtype, fused=self.fused, unit=unit, hints=hints, of_pixels=of_pixels)

    def _recorder(self) -> Recorder | None:
        return CudaRecorder() if self.fused else None
