"""A UNet with other values for some parameters gives the bits of one that was made with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.checkpoint import load_checkpoint
from engine.networks.operations import operations_for
from engine.networks.sharing import remade
from engine.networks.unet import Unet

CPU = torch.device("cpu")
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"


@pytest.mark.parametrize(
    "changed",
    [
        [f"{BLOCK}.attn1.to_k.weight"],
        ["up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v.weight"],
        ["down_blocks.1.resnets.0.time_emb_proj.weight", "down_blocks.1.resnets.0.conv1.bias"],
        ["up_blocks.0.upsamplers.0.conv.bias"],
        ["up_blocks.1.upsamplers.0.conv.weight", "down_blocks.0.downsamplers.0.conv.weight"],
        ["conv_in.weight", "conv_norm_out.weight", f"{BLOCK}.ff.net.0.proj.weight", f"{BLOCK}.attn2.to_out.0.bias"],
        [],
    ],
)
@torch.inference_mode()
def test_the_bits_are_those_of_a_network_of_its_own(tiny_checkpoint: Path, changed: list[str]) -> None:
    base_module, own_module, plain = (
        load_checkpoint(tiny_checkpoint, device=CPU, dtype=torch.float32).unet for _ in range(3)
    )
    stored = dict(plain.named_parameters())
    draw = torch.Generator().manual_seed(0)
    other = {name: stored[name] + 0.1 * torch.randn(stored[name].shape, generator=draw) for name in changed}
    for name, value in other.items():
        own_module.get_parameter(name).data = value.clone()
    operations = operations_for(CPU, torch.float32, fused=False, unit=2)
    base, own = Unet(base_module, operations), Unet(own_module, operations)
    needed = remade(changed, stored)
    variant = base.with_values({name: other.get(name, stored[name]).clone() for name in needed})
    x, times = torch.randn(1, 4, 8, 8, generator=draw), torch.tensor([500.0])
    conditioning = torch.randn(2, 77, 64, generator=draw)
    before = base(x, times, conditioning)
    assert torch.equal(variant(x, times, conditioning), own(x, times, conditioning))
    assert torch.equal(base(x, times, conditioning), before)
    assert torch.equal(variant(x, times, conditioning), before) == (not changed)
