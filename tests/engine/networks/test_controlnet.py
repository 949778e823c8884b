"""The ControlNet: it computes what diffusers' module computes, and the UNet takes what it gives."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor, nn

from engine.checkpoint import load_checkpoint
from engine.networks.controlnet import ControlNet
from engine.networks.operations import Operations, operations_for
from engine.networks.pieces import same_bits
from engine.networks.unet import Unet
from tests.checkpoints import write_tiny_checkpoint

CPU = torch.device("cpu")


def random_controlnet(unet: Any, seed: int = 0) -> ControlNetModel:
    """diffusers' ControlNet for ``unet``, with values in place of the zeros that training begins from."""
    config = unet.config
    same = ("block_out_channels", "down_block_types", "transformer_layers_per_block", "cross_attention_dim")
    sizes = {name: config[name] for name in (*same, "attention_head_dim", "norm_num_groups")}
    module = ControlNetModel(layers_per_block=config.layers_per_block[0], **sizes)
    module.load_state_dict(unet.state_dict(), strict=False)
    generator = torch.Generator().manual_seed(seed)
    layers = [layer for name, layer in module.named_modules() if "controlnet_" in name and isinstance(layer, nn.Conv2d)]
    for layer in layers:
        fan_in = layer.weight[0].numel()
        layer.weight = nn.Parameter(torch.randn(layer.weight.shape, generator=generator) * (1.5 / fan_in**0.5))
    return module.requires_grad_(False).eval()


def inputs(rows: int, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, times, conditioning and pictures, 0 … 1."""
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, 4, height, width, generator=generator)
    times, conditioning = torch.rand(rows, generator=generator) * 999, torch.randn(rows, 77, 64, generator=generator)
    return x, times, conditioning, torch.rand(rows, 3, 8 * height, 8 * width, generator=generator)


def close(found: Tensor, wanted: Tensor, bound: float = 1e-4) -> bool:
    return found.shape == wanted.shape and float((found - wanted).norm() / wanted.norm()) < bound


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of two blocks a level."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("deep") / "deep.safetensors", blocks=2, mult=(1, 2, 4, 4))


@pytest.mark.parametrize("prepacked", [False, True])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 17)])
@torch.inference_mode()
def test_residuals_and_what_the_unet_makes_of_them_are_those_of_diffusers(
    deep: Path, height: int, width: int, prepacked: bool
) -> None:
    module = load_checkpoint(deep, device=CPU, dtype=torch.float32).unet
    control = random_controlnet(module)
    theirs, their_control = copy.deepcopy(module), copy.deepcopy(control)
    x, times, conditioning, pictures = inputs(3, height, width)
    skips, middle = their_control(x, times, conditioning, pictures, return_dict=False)
    wanted = theirs(
        x,
        times,
        conditioning,
        down_block_additional_residuals=skips,
        mid_block_additional_residual=middle,
        return_dict=False,
    )[0]
    operations = operations_for(CPU, torch.float32, fused=False) if prepacked else Operations()
    unet, network = Unet(module, operations), ControlNet(control, operations)
    embedded = torch.cat([network.embedded(picture) for picture in pictures.split(1)])
    residuals = network(x, times, conditioning, embedded)
    assert len(residuals) == unet.residuals
    assert all(close(own, other) for own, other in zip(residuals, (*skips, middle), strict=True))
    assert close(unet(x, times, conditioning, *residuals), wanted)
    assert not close(unet(x, times, conditioning), wanted, 1e-2)


@torch.inference_mode()
def test_the_rows_of_a_pair_have_the_bits_of_a_call_of_their_own(tiny_checkpoint: Path) -> None:
    module = load_checkpoint(tiny_checkpoint, device=CPU, dtype=torch.float32).unet
    network = ControlNet(random_controlnet(module), Operations(unit=2))
    x, times, conditioning, pictures = inputs(4)
    embedded = torch.cat([network.embedded(picture) for picture in pictures[:2].split(1)])
    whole = network(x[:2], times[:2], conditioning, embedded)  # two conditionings for each of two
    alone = network(x[:1], times[:1], conditioning[:2], embedded[:1])
    assert all(same_bits(own[:2].contiguous(), other) for own, other in zip(whole, alone, strict=True))


@torch.inference_mode()
def test_a_level_s_features_change_what_comes_behind_it(tiny_checkpoint: Path) -> None:
    module = load_checkpoint(tiny_checkpoint, device=CPU, dtype=torch.float32).unet
    theirs, unet = copy.deepcopy(module), Unet(module, Operations())
    x, times, conditioning, _ = inputs(2)
    widths = module.config.block_out_channels
    features = [torch.randn(2, width, 8 >> level, 8 >> level) for level, width in enumerate(widths)]
    wanted = theirs(
        x,
        times,
        conditioning,
        down_intrablock_additional_residuals=[each.clone() for each in features],
        return_dict=False,
    )[0]
    assert close(unet(x, times, conditioning, *features), wanted)
    assert not close(unet(x, times, conditioning), wanted, 1e-2)
