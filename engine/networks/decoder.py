"""The decoder of Stable Diffusion 1.x's VAE as one function, over the weights of diffusers' module."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from engine.networks.doubling import before_doubling
from engine.networks.operations import Operations, fixed
from engine.networks.steps import Steps, attend, completed, convolve_doubled, residual


class VaeDecoder:
    """Latents → pictures. Lays the module's weights out anew; changes of them are not followed."""

    def __init__(self, module: AutoencoderKL, operations: Operations) -> None:
        self.channels: int = module.config.block_out_channels[0]
        """Of the last level."""
        self._layers = nn.ModuleDict({"entrance": module.post_quant_conv, "decoder": module.decoder})
        self._layers["doublings"] = _doublings(module.decoder)
        self._operations = operations
        operations.lay_out(self._layers)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and of what comes out."""
        return next(self._layers.parameters()).dtype

    @property
    def _decoder(self) -> Any:
        """diffusers' module, whose parts torch's types do not know."""
        return self._layers["decoder"]

    def in_float32(self) -> VaeDecoder:
        """The same with a copy of its weights, in float32."""
        wide = copy.copy(self)
        # what oneDNN has laid out cannot be copied as it is
        plain = {id(weight): fixed(weight.to_dense()) for weight in self._layers.parameters() if weight.is_mkldnn}
        wide._layers = copy.deepcopy(self._layers, plain).float()
        wide._layers["doublings"] = _doublings(wide._layers["decoder"])  # of sums that were not rounded
        return wide

    def __call__(self, latents: Tensor) -> Tensor:
        """(R, 4, h, w) → (R, 3, 8h, 8w), nominally −1 … 1."""
        return completed(self.steps(latents))

    def steps(self, latents: Tensor) -> Steps:
        """What calling it gives, step by step."""
        operations, decoder = self._operations, self._decoder
        x = latents.to(self.dtype).contiguous(memory_format=operations.layout)
        entrance: Any = self._layers["entrance"]
        doublings: Any = iter(cast(nn.ModuleList, self._layers["doublings"]))
        x = operations.convolve(operations.convolve(x, entrance), decoder.conv_in)
        middle = decoder.mid_block
        x = yield from residual(operations, middle.resnets[0], x)
        x = yield from attend(operations, middle.attentions[0], x)
        x = yield from residual(operations, middle.resnets[1], x)
        for block in decoder.up_blocks:
            for resnet in block.resnets:
                x = yield from residual(operations, resnet, x)
            if block.upsamplers:
                x = yield from convolve_doubled(operations, x, next(doublings))
        return operations.convolve(operations.group_norm(x, decoder.conv_norm_out), decoder.conv_out)


def _doublings(decoder: nn.Module) -> nn.ModuleList:
    """In the order of the levels."""
    return nn.ModuleList(before_doubling(layer.conv) for layer in decoder.modules() if isinstance(layer, Upsample2D))
