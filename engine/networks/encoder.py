"""The encoder of Stable Diffusion 1.x's VAE as one function, over the weights of diffusers' module."""

from __future__ import annotations

import copy
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

from engine.networks.operations import Operations, fixed
from engine.networks.steps import Steps, attend, completed, convolve, residual


class VaeEncoder:
    """Pictures → latents. Lays the module's weights out anew; changes of them are not followed."""

    def __init__(self, module: AutoencoderKL, operations: Operations) -> None:
        self.channels: int = module.config.block_out_channels[0]
        """Of the first level."""
        self._layers = nn.ModuleDict({"encoder": module.encoder, "exit": module.quant_conv})
        self._operations = operations
        operations.lay_out(self._layers)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and of what comes out."""
        return next(self._layers.parameters()).dtype

    def in_float32(self) -> VaeEncoder:
        """The same with a copy of its weights, in float32."""
        wide = copy.copy(self)
        # what oneDNN has laid out cannot be copied as it is
        plain = {id(weight): fixed(weight.to_dense()) for weight in self._layers.parameters() if weight.is_mkldnn}
        wide._layers = copy.deepcopy(self._layers, plain).float()
        return wide

    def __call__(self, pictures: Tensor) -> Tensor:
        """(R, 3, 8h, 8w), −1 … 1 → the mean of the posterior, (R, 4, h, w)."""
        return completed(self.steps(pictures))

    def steps(self, pictures: Tensor) -> Steps:
        """What calling it gives, step by step."""
        operations = self._operations
        encoder: Any = self._layers["encoder"]
        exit: Any = self._layers["exit"]
        x = pictures.to(self.dtype).contiguous(memory_format=operations.layout)
        x = operations.convolve(x, encoder.conv_in)
        for block in encoder.down_blocks:
            for resnet in block.resnets:
                x = yield from residual(operations, resnet, x)
            for sampler in block.downsamplers or ():
                x = functional.pad(x, (0, 1, 0, 1)).contiguous(memory_format=operations.layout)
                x = yield from convolve(operations, x, sampler.conv)
        middle = encoder.mid_block
        x = yield from residual(operations, middle.resnets[0], x)
        x = yield from attend(operations, middle.attentions[0], x)
        x = yield from residual(operations, middle.resnets[1], x)
        x = operations.convolve(operations.group_norm(x, encoder.conv_norm_out), encoder.conv_out)
        return operations.convolve(x, exit)[:, :4]
