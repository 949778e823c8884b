"""Puts low-rank adapters beside the layers of a frozen UNet, and makes a LoRA file of them. Knows no training.

Hu et al. 2021 (arXiv 2106.09685); convolutions as in LoCon. Names are those of kohya's training scripts.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

BLOCKS = ("down_blocks", "mid_block", "up_blocks")  # conv_in, conv_out and the time embedding stay as they are


class LowRank(nn.Module):
    """Adds ``up(down(x))`` to a layer's output. ``up`` starts at zero, so that at first nothing changes."""

    down: nn.Linear | nn.Conv2d
    up: nn.Linear | nn.Conv2d

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int) -> None:
        super().__init__()
        if isinstance(layer, nn.Conv2d):
            stride, padding = _pair(layer.stride), _pair(layer.padding)
            self.down = nn.Conv2d(layer.in_channels, rank, _pair(layer.kernel_size), stride, padding, bias=False)
            self.up = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        else:
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.up(self.down(x))
        return added


def _pair(values: str | tuple[int, ...]) -> tuple[int, int]:
    assert not isinstance(values, str)  # no layer of the UNet pads by a word
    height, width = values
    return height, width


def attach(unet: nn.Module, rank: int) -> nn.ModuleDict:
    """Put adapters of ``rank`` beside all linear layers and convolutions of the UNet's blocks, and return them.

    They act through hooks from now on. Their names are those of a file.
    """
    adapters = nn.ModuleDict()
    for name, layer in _layers(unet):
        adapter = adapters[f"lora_unet_{name.replace('.', '_')}"] = LowRank(layer, rank)
        layer.register_forward_hook(lambda _, given, made, adapter=adapter: made + adapter(given[0]))
    return adapters


def _layers(unet: nn.Module) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    for name, module in unet.named_modules():
        if name.startswith(BLOCKS) and isinstance(module, nn.Linear | nn.Conv2d):
            yield name, module


def tensors(adapters: nn.ModuleDict) -> dict[str, Tensor]:
    """Return the file's tensors, in float16. ``alpha`` is the rank, so that strength 1 is what was trained."""
    made = {}
    for name, adapter in adapters.items():
        down, up = adapter.get_parameter("down.weight"), adapter.get_parameter("up.weight")
        made[f"{name}.lora_down.weight"] = down.detach().cpu().half().contiguous()
        made[f"{name}.lora_up.weight"] = up.detach().cpu().half().contiguous()
        made[f"{name}.alpha"] = torch.tensor(float(len(down))).half()
    return made
