"""The blocks of Stable Diffusion 1.x's UNet and ControlNets as functions, over the weights of diffusers' modules.

Rombach et al. 2022 (arXiv 2112.10752), with what the module computes apart computed together: queries, keys and values
of self-attention, all layers' keys and values of the conditioning, all residual blocks' shifts by the time.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from engine.networks.operations import Operations, fixed, tokens
from engine.networks.patches import Attention, Patch

_LONGEST_PERIOD = 10_000
"""Of the time's sinusoids (Vaswani et al. 2017, arXiv 1706.03762, section 3.5)."""


class Trunk:
    """The blocks of a UNet or ControlNet, ready to be run.

    Takes over the module's weights: its layers share them, or have none where oneDNN lays them out.
    """

    def __init__(self, module: UNet2DConditionModel | ControlNetModel, operations: Operations) -> None:
        self.module = module
        self.layout = operations.layout
        self._operations = operations
        self.dtype: torch.dtype = module.dtype
        self.channels: int = module.config.block_out_channels[0]
        """The number of channels of the first level."""
        self.residuals: int = 2 + sum(
            len(block.resnets) + len(block.downsamplers or ()) for block in module.down_blocks
        )
        """The number of tensors that a ControlNet adds: one for each that the way up joins, and the middle's."""
        half = self.channels // 2
        steps = torch.arange(half, dtype=torch.float32)
        # in this order: a time of 999 makes a frequency's last bit a 1e-4 of the angle
        frequencies = torch.exp(-math.log(_LONGEST_PERIOD) * steps / half)  # (channels/2,)
        self._frequencies = frequencies.to(module.device)
        self._heads: int = module.config.attention_head_dim  # what diffusers calls the number of heads
        blocks = [layer for layer in module.modules() if isinstance(layer, BasicTransformerBlock)]
        resnets = [layer for layer in module.modules() if isinstance(layer, ResnetBlock2D)]
        self._qkv = {block: self._packed([block.attn1.to_q, block.attn1.to_k, block.attn1.to_v]) for block in blocks}
        self._kv = self._packed([layer for block in blocks for layer in (block.attn2.to_k, block.attn2.to_v)])
        self._kv_places = _places(blocks, [2 * block.attn2.to_k.out_features for block in blocks])
        self._shift = self._packed([resnet.time_emb_proj for resnet in resnets])
        self._shift_bias = self._shift_biases(resnets)
        self._shift_places = _places(resnets, [resnet.time_emb_proj.out_features for resnet in resnets])
        operations.lay_out(module)

    def shifts(self, times: Tensor, operations: Operations) -> Tensor:
        """What the times (P,) add to each residual block's first convolution, its bias included: (P, all channels)."""
        angles = times[:, None] * self._frequencies
        embedding = operations.in_units(_sinusoids, angles).to(self.dtype)
        layers = self.module.time_embedding
        hidden = operations.silu(operations.linear(embedding, layers.linear_1.weight, layers.linear_1.bias))
        hidden = operations.silu(operations.linear(hidden, layers.linear_2.weight, layers.linear_2.bias))
        return operations.linear(hidden, self._shift, self._shift_bias)

    def pieces(self, rows: int) -> Counter[int]:
        """In calls of ``rows`` rows, how many operations are given how many rows at a time; where that was tried."""
        return self._operations.pieces_of(rows)

    def _shift_biases(self, resnets: Sequence[Any]) -> Tensor:
        biases = [resnet.time_emb_proj.bias.float() + resnet.conv1.bias.float() for resnet in resnets]
        return torch.cat(biases).to(self.dtype)

    def _packed(self, layers: Sequence[nn.Linear]) -> Tensor:
        """The layers' weights, one below the other. The layers keep views of it, so that they are not held twice."""
        if not layers:
            return torch.empty(0)
        packed = torch.cat([layer.weight.detach() for layer in layers])
        laid_out = self._operations.linear_weight(packed)
        parts: Iterable[Tensor | None] = packed.split([layer.out_features for layer in layers])
        if laid_out is not packed:
            parts = [None] * len(layers)
        for layer, part in zip(layers, parts, strict=True):
            layer.register_parameter("weight", None if part is None else fixed(part))
        return laid_out


class Run:
    """One call of the blocks: its rows' times and conditionings, as every block needs them."""

    def __init__(
        self,
        trunk: Trunk,
        times: Tensor,
        conditioning: Tensor,
        patches: Sequence[Patch] = (),
        beside: Sequence[Tensor] = (),
    ) -> None:
        """``beside``, (P, …) each, is what the patches take beside x."""
        self._trunk = trunk
        self._patches = patches
        self._beside = beside
        self._layers = itertools.count()
        self.notes: list[Tensor] = []
        """What patches note, (R, …) each."""
        self._rows = conditioning.shape[0]
        self._each = self._rows // times.shape[0]
        self._before = trunk._operations.for_rows_of(self._each)
        shifts = trunk.shifts(times, self._before)
        self._shifts = {shifts.shape[0]: shifts, self._rows: self.for_all_rows(shifts)}
        self._kv = conditioning  # a network without attention does not read it
        if trunk._kv_places:
            self._kv = trunk._operations.linear(conditioning, trunk._kv)  # (R, n, keys and values of every block)

    def operations(self, x: Tensor) -> Operations:
        """Those for x before it met its conditionings, or after that."""
        return self._trunk._operations if x.shape[0] == self._rows else self._before

    def for_all_rows(self, x: Tensor) -> Tensor:
        """(P, …) or (R, …) → (R, …)."""
        return x if x.shape[0] == self._rows else self._before.repeat(x, self._each)

    def down(
        self, x: Tensor, *, entrance: Tensor | None = None, features: Sequence[Tensor] = ()
    ) -> tuple[Tensor, list[Tensor]]:
        """Return what comes out of the way down for x (P, 4, h, w), and what each block of it leaves to be joined:
        (P or R, c, h, w) each.

        ``entrance`` (P, c, h, w) is added behind the first convolution; ``features``, (R, c, h, w) for each level,
        behind the level's last residual block.
        """
        module: Any = self._trunk.module
        passed: list[Tensor] = []
        x = self.operations(x).convolve(x.contiguous(memory_format=self._trunk.layout), module.conv_in)
        x = self._passed_on(x if entrance is None else x + entrance, passed)
        for level, block in enumerate(module.down_blocks):
            for resnet, attention in zip(block.resnets, attentions_of(block), strict=True):
                x = self.block(x, resnet, attention)
                if features and resnet is block.resnets[-1]:
                    x = added(self.for_all_rows(x), features[level])
                x = self._passed_on(x, passed)
            for sampler in block.downsamplers or ():
                x = self._passed_on(self.operations(x).convolve(x, sampler.conv), passed)
        return x, passed

    def _passed_on(self, x: Tensor, passed: list[Tensor]) -> Tensor:
        """Return what goes into the next block behind the one that made x; add to ``passed`` what is joined later."""
        block, operations = len(passed), self.operations(x)
        for patch in self._patches:
            x = patch.before_skip(block, x, operations)
        passed.append(x)
        for patch in self._patches:
            x = patch.after_skip(block, x, operations)
        return x

    def joined(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return x and what was left for it, (R, c, h, w) each, one behind the other."""
        for patch in self._patches:
            x, skip = patch.join(x, skip, self._trunk.channels, self._trunk._operations)
        return torch.cat([x, skip], dim=1)

    def middle(self, x: Tensor) -> Tensor:
        """Return what the blocks of the lowest level make of x, (R, c, h, w)."""
        middle: Any = self._trunk.module.mid_block  # a ControlNet without attention has one residual block there
        attentions = [*middle.attentions, *[None] * len(middle.resnets)]
        for resnet, attention in zip(middle.resnets, attentions, strict=False):
            x = self.block(x, resnet, attention)
        return self.for_all_rows(x)

    def block(self, x: Tensor, resnet: ResnetBlock2D, attention: Transformer2DModel | None) -> Tensor:
        shift = self._shifts[x.shape[0]][:, self._trunk._shift_places[resnet]]
        x = residual(self.operations(x), resnet, x, shift)
        return x if attention is None else self._attend(x, attention)

    def _attend(self, x: Tensor, layer: Transformer2DModel) -> Tensor:
        operations = self.operations(x)
        inner = tokens(operations.convolve(operations.group_norm(x, layer.norm, silu=False), layer.proj_in))
        for block in layer.transformer_blocks:
            inner = self._transform(inner, block)
        operations = self._trunk._operations
        return operations.convolve(operations.pictures(inner, x), layer.proj_out) + self.for_all_rows(x)

    def _transform(self, x: Tensor, block: BasicTransformerBlock) -> Tensor:
        operations, heads = self.operations(x), self._trunk._heads
        normed = operations.layer_norm(x, block.norm1)
        q, k, v = operations.linear(normed, self._trunk._qkv[block]).chunk(3, dim=-1)
        out = block.attn1.to_out[0]
        attended = operations.linear(self._attended(normed, q, k, v, block), out.weight, out.bias)
        x, normed = map(self.for_all_rows, operations.add_layer_norm(x, attended, block.norm2))
        operations = self._trunk._operations
        q = operations.linear(normed, block.attn2.to_q.weight)
        k, v = self._kv[..., self._trunk._kv_places[block]].chunk(2, dim=-1)
        out = block.attn2.to_out[0]
        attended = operations.linear(operations.attend(q, k, v, heads), out.weight, out.bias)
        x, normed = operations.add_layer_norm(x, attended, block.norm3)
        gate, _, out = block.ff.net
        hidden = operations.gated(operations.linear(normed, gate.proj.weight, gate.proj.bias))
        return x + operations.linear(hidden, out.weight, out.bias)

    def _attended(self, normed: Tensor, q: Tensor, k: Tensor, v: Tensor, block: BasicTransformerBlock) -> Tensor:
        """Self-attention, as patches have it."""
        module: Any = self._trunk.module
        attention = Attention(
            layer=next(self._layers),
            middle=block in module.mid_block.attentions[0].transformer_blocks,
            heads=self._trunk._heads,
            operations=self.operations(normed),
            beside=[each if each.shape[0] == len(normed) else self.for_all_rows(each) for each in self._beside],
            notes=self.notes,
        )
        return attention.of(self._patches, normed, q, k, v)


def added(x: Tensor, other: Tensor) -> Tensor:
    """Return the sum; x where a patch has changed its size: what is meant for another size is left out."""
    return x + other if x.shape == other.shape else x


def residual(operations: Operations, layer: ResnetBlock2D, x: Tensor, shift: Tensor) -> Tensor:
    """A residual block; ``shift``, (R, C) or (C,), is added to its first convolution, in place of that one's bias."""
    hidden = operations.convolve(operations.group_norm(x, layer.norm1), layer.conv1, bias=False)
    hidden = operations.group_norm(hidden, layer.norm2, shift=shift)
    around = x if layer.conv_shortcut is None else operations.convolve(x, layer.conv_shortcut)
    return operations.convolve_add(hidden, layer.conv2, around)


def attentions_of(block: nn.Module) -> Sequence[Transformer2DModel | None]:
    resnets: Any = block.resnets
    attentions: Sequence[Transformer2DModel | None] = getattr(block, "attentions", None) or [None] * len(resnets)
    return attentions


def _places(layers: Sequence[nn.Module], sizes: Sequence[int]) -> dict[nn.Module, slice]:
    ends = itertools.accumulate(sizes, initial=0)
    return {layer: slice(*ends_of) for layer, ends_of in zip(layers, itertools.pairwise(ends), strict=True)}


def _sinusoids(angles: Tensor) -> Tensor:
    return torch.cat([angles.cos(), angles.sin()], dim=1)
