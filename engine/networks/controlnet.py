"""A ControlNet as one function, over the weights of diffusers' module.

Zhang et al. 2023 (arXiv 2302.05543): a copy of the way down of a UNet, which is given a picture beside x; what its
blocks make of both is added to what those of the UNet make.
"""

from __future__ import annotations

from typing import Any

from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor

from engine.networks.operations import Operations
from engine.networks.trunk import Run, Trunk


class ControlNet(Trunk):
    """Makes what is added to a UNet's blocks."""

    def __init__(self, module: ControlNetModel, operations: Operations) -> None:
        super().__init__(module, operations)

    def embedded(self, picture: Tensor) -> Tensor:
        """Return a picture (1, 3, 8h, 8w), 0 … 1, as it is added to x: (1, c, h, w) in the network's dtype."""
        operations, layers = self._operations, self._module.controlnet_cond_embedding
        x: Tensor = picture.to(self.dtype).contiguous(memory_format=self.layout)
        for layer in (layers.conv_in, *layers.blocks):
            x = operations.silu(operations.convolve(x, layer))
        return operations.convolve(x, layers.conv_out)

    def __call__(self, x: Tensor, times: Tensor, conditioning: Tensor, *embedded: Tensor) -> tuple[Tensor, ...]:
        """Return the residuals, (R, c, h, w) each: one for each tensor that the UNet's way up joins, and the middle's.

        x (P, 4, h, w), times (P,) float32, conditioning (R, n, width) as the UNet's; ``embedded``, one, (P, c, h, w).
        """
        run, module = Run(self, times, conditioning), self._module
        (entrance,) = embedded
        x, passed = run.down(x, entrance=entrance)
        residuals = [
            run.for_all_rows(run.operations(each).convolve(each, layer))
            for each, layer in zip(passed, module.controlnet_down_blocks, strict=True)
        ]
        middle = self._operations.convolve(run.middle(x), module.controlnet_mid_block)
        return (*residuals, middle)

    @property
    def _module(self) -> Any:
        """diffusers' module, whose parts torch's types do not know."""
        return self.module
