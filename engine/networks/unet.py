"""The UNet of Stable Diffusion 1.x as one function, with and without patches.

Rombach et al. 2022 (arXiv 2112.10752).
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from engine.networks.doubling import before_doubling
from engine.networks.layout import layout_of
from engine.networks.operations import Operations
from engine.networks.patches import Patches
from engine.networks.sharing import sharing_copy
from engine.networks.trunk import Run, Trunk, added, attentions_of


class Unet(Trunk):
    """Predicts eps."""

    def __init__(self, module: UNet2DConditionModel, operations: Operations) -> None:
        samplers = [layer for layer in module.modules() if isinstance(layer, Upsample2D)]
        self._doublings = {sampler: before_doubling(sampler.conv) for sampler in samplers}
        super().__init__(module, operations)  # which lays the weights out
        for layer in self._doublings.values():
            operations.lay_out(layer)
        self.attentions = layout_of(module)
        self.inputs: int = module.config.in_channels
        """The number of channels of x and of what lies beside it: 4, or 9 for inpainting."""

    def __call__(self, x: Tensor, times: Tensor, conditioning: Tensor, *added: Tensor) -> Tensor:
        """x (P, 4, h, w), times (P,) float32, conditioning (R, n, width) → eps (R, 4, h, w); all on one device.

        R is a multiple of P: each x has R/P conditionings, one after the other. What comes before the first attention
        to them does not depend on them, and is computed once for each x.

        ``added``, (R, c, h, w) each: what ``ControlNet`` gives, or a T2I-adapter's features for each level, or one
        behind the other.
        """
        return self._predicted(Run(self, times, conditioning), x, added)

    def patched(self, patches: Patches) -> PatchedUnet:
        """Return the same network with patches."""
        return PatchedUnet(self, patches)

    def _predicted(self, run: Run, x: Tensor, beside: Sequence[Tensor], patches: Patches = ()) -> Tensor:
        module: Any = self.module
        residuals, features = self._parted([each.contiguous(memory_format=self.layout) for each in beside])
        x, skips = run.down(x, features=features)
        x = run.middle(x)
        if residuals:
            x = added(x, residuals[-1])
        for block in module.up_blocks:
            for resnet, attention in zip(block.resnets, attentions_of(block), strict=True):
                skip = run.for_all_rows(skips.pop())
                if residuals:
                    skip = added(skip, residuals[len(skips)])
                x = run.block(run.joined(x, skip), resnet, attention)
            for sampler in block.upsamplers or ():
                size = skips[-1].shape[2:]
                for patch in patches:
                    size = patch.enlarged(x, size)
                x = self._enlarge(x, sampler, size)
        x = self._operations.group_norm(x, module.conv_norm_out)
        return self._operations.convolve(x, module.conv_out)

    def with_values(self, values: Mapping[str, Tensor]) -> Unet:
        """A UNet with other values for some parameters, which shares all other tensors with this one.

        ``values``, by the module's names, in the UNet's precision and on its device, for all that ``remade`` names.
        """
        other = copy.copy(self)
        module = other.module = sharing_copy(self.module, values)
        twins = dict(zip(self.module.modules(), module.modules(), strict=True))
        names = {layer: name for name, layer in module.named_modules()}
        other._repack(self, twins, names, values)
        other._doublings = {
            twins[sampler]: before_doubling(twins[sampler].conv)
            if f"{names[twins[sampler]]}.conv.weight" in values
            else folded
            for sampler, folded in self._doublings.items()
        }
        weights = [name for name in values if name.endswith(".weight")]  # the others are laid out already
        for layer in {module.get_submodule(name.removesuffix(".weight")) for name in weights}:
            self._operations.lay_out(layer)
        for sampler, folded in self._doublings.items():
            if other._doublings[twins[sampler]] is not folded:
                self._operations.lay_out(other._doublings[twins[sampler]])
        return other

    def _repack(
        self,
        base: Unet,
        twins: Mapping[nn.Module, Any],
        names: Mapping[nn.Module, str],
        values: Mapping[str, Tensor],
    ) -> None:
        """Pack what ``values`` has weights of anew, and share what ``base`` has of the rest."""
        self._kv_places = {twins[block]: place for block, place in base._kv_places.items()}
        self._shift_places = {twins[resnet]: place for resnet, place in base._shift_places.items()}
        blocks, resnets = [twins[block] for block in base._qkv], list(self._shift_places)
        self._qkv = {
            block: self._packed([block.attn1.to_q, block.attn1.to_k, block.attn1.to_v])
            if f"{names[block]}.attn1.to_q.weight" in values
            else packed
            for block, packed in zip(blocks, base._qkv.values(), strict=True)
        }
        if any(name.endswith("attn2.to_k.weight") for name in values):
            self._kv = self._packed([layer for block in blocks for layer in (block.attn2.to_k, block.attn2.to_v)])
        if any(name.endswith("time_emb_proj.weight") for name in values):
            self._shift = self._packed([cast(Any, resnet).time_emb_proj for resnet in resnets])
        if any(name.endswith(("time_emb_proj.bias", "conv1.bias")) for name in values):
            self._shift_bias = self._shift_biases(resnets)

    def _parted(self, added: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The residuals of a ControlNet and the features of a T2I-adapter, each of which may be missing."""
        count = self.residuals if len(added) >= self.residuals else 0
        assert len(added) - count in (0, len(self.module.down_blocks))
        return added[:count], added[count:]

    def _enlarge(self, x: Tensor, sampler: Upsample2D, size: torch.Size) -> Tensor:
        """To the ``size`` (h, w) of the level above, convolved."""
        if size == (2 * x.shape[2], 2 * x.shape[3]):
            return self._operations.convolve_doubled(x, self._doublings[sampler])
        return self._operations.convolve(self._operations.enlarge(x, size), sampler.conv)


class PatchedUnet:
    """A UNet whose own computation is changed. It shares the UNet's weights."""

    def __init__(self, unet: Unet, patches: Patches) -> None:
        self._unet = unet
        self._patches = patches
        self.dtype = unet.dtype
        self.channels = unet.channels

    def __call__(self, x: Tensor, times: Tensor, conditioning: Tensor, *beside: Tensor) -> tuple[Tensor, ...]:
        """Return eps (R, 4, h, w), and what the patches note, (R, …) each.

        Inputs as the UNet's; in front of what is added to it come the tensors that the patches take beside x.
        """
        count = sum(patch.takes for patch in self._patches)
        run = Run(self._unet, times, conditioning, self._patches, beside[:count])
        return (self._unet._predicted(run, x, beside[count:], self._patches), *run.notes)

    def pieces(self, rows: int) -> Counter[int]:
        """As the UNet's."""
        return self._unet.pieces(rows)
