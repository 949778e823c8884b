"""Files of ControlNets and T2I-adapters: every layout that people have is read, and any other file is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.models.adapter import FullAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.checkpoint.controlnet import inspect_control, load_control
from engine.errors import BrokenCheckpoint, UnknownCheckpoint
from engine.networks.controlnet import ControlNet
from engine.networks.operations import Operations
from engine.networks.t2i_adapter import T2iAdapter
from tests.checkpoints import write_tiny_checkpoint
from tests.controls import write_adapter, write_controlnet

CPU = torch.device("cpu")


def residuals(path: Path) -> tuple[Tensor, ...]:
    """What the ControlNet in ``path`` makes of some x."""
    network = ControlNet(load_control(path, device=CPU, dtype=torch.float32).blueprint.module, Operations())  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    x, tokens = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 77, 64, generator=generator)
    with torch.inference_mode():
        picture = network.embedded(torch.rand(1, 3, 64, 64, generator=generator))
        return network(x, torch.tensor([300.0]), tokens, picture)


def features(path: Path, picture: Tensor) -> tuple[Tensor, ...]:
    network = T2iAdapter(load_control(path, device=CPU, dtype=torch.float32).blueprint.module, Operations())  # type: ignore[arg-type]
    with torch.inference_mode():
        return network.features(picture)


def test_a_prefix_and_diffusers_names_change_nothing(tmp_path: Path) -> None:
    first = write_controlnet(tmp_path / "first.safetensors")
    bare = write_controlnet(tmp_path / "bare.safetensors", prefix="")
    contents = load_control(first, device=CPU, dtype=torch.float32)
    diffusers = tmp_path / "diffusers.safetensors"
    save_file({name: value.clone() for name, value in contents.blueprint.module.state_dict().items()}, diffusers)
    found = residuals(first)
    assert len(found) == 9
    for other in (bare, diffusers):
        assert all(map(torch.equal, found, residuals(other)))


def test_the_header_tells_the_sizes(tmp_path: Path) -> None:
    control = inspect_control(write_controlnet(tmp_path / "control.safetensors"))
    assert not control.adapter
    assert (control.blueprint.widths, control.blueprint.context) == ((32, 64, 64, 64), 64)
    tensors = load_file(tmp_path / "control.safetensors")
    assert control.parameters == sum(value.numel() for value in tensors.values())
    adapter = inspect_control(write_adapter(tmp_path / "adapter.safetensors"))
    assert adapter.adapter
    assert adapter.blueprint.widths == (32, 64, 64, 64)


def test_an_adapter_computes_what_diffusers_module_does(tmp_path: Path) -> None:
    theirs = FullAdapter(3, [32, 64, 64, 64], 2, 8).eval()
    ours = write_adapter(tmp_path / "ours.safetensors", seed=1)
    names = {f"body.{i}.{rest}": f"body.{i // 2}.resnets.{i % 2}.{rest}" for i in range(8) for rest in _BLOCK}
    names |= {f"body.{i}.in_conv.{kind}": f"body.{i // 2}.in_conv.{kind}" for i in range(8) for kind in _KINDS}
    tensors = {names.get(name, name): value for name, value in load_file(ours).items()}
    theirs.load_state_dict(tensors)
    diffusers = tmp_path / "diffusers.safetensors"
    save_file({f"adapter.{name}": value for name, value in tensors.items()}, diffusers)
    picture = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = theirs(picture)
    for path in (ours, diffusers):
        assert all(
            torch.allclose(*pair, rtol=1e-4, atol=1e-5) for pair in zip(features(path, picture), wanted, strict=True)
        )


_KINDS = ("weight", "bias")
_BLOCK = tuple(f"{layer}.{kind}" for layer in ("block1", "block2") for kind in _KINDS)


def test_odd_sides_are_rounded_up_as_the_unet_does(tmp_path: Path) -> None:
    found = features(write_adapter(tmp_path / "adapter.safetensors"), torch.rand(1, 3, 9 * 8, 5 * 8))
    assert [tuple(each.shape[2:]) for each in found] == [(9, 5), (5, 3), (3, 2), (2, 1)]


def test_an_adapter_for_grey_sees_the_mean_of_the_channels(tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "sketch.safetensors", colours=1)
    picture = torch.rand(1, 3, 64, 64)
    grey = picture.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    assert all(
        torch.allclose(*pair, atol=1e-5) for pair in zip(features(path, picture), features(path, grey), strict=True)
    )


def test_a_light_adapter_has_its_blocks_between_two_convolutions(tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {}

    def add(name: str, outputs: int, inputs: int, kernel: int) -> None:
        tensors[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel) / 8
        tensors[f"{name}.bias"] = torch.zeros(outputs)

    before = 192
    for level, width in enumerate((32, 64, 64, 64)):
        add(f"body.{level}.in_conv", width // 4, before, 1)
        for block in range(2):
            add(f"body.{level}.body.{block}.block1", width // 4, width // 4, 3)
            add(f"body.{level}.body.{block}.block2", width // 4, width // 4, 3)
        add(f"body.{level}.out_conv", width, width // 4, 1)
        before = width
    save_file(tensors, tmp_path / "color.safetensors")
    found = features(tmp_path / "color.safetensors", torch.rand(1, 3, 64, 64))
    assert [tuple(each.shape[1:]) for each in found] == [(32, 8, 8), (64, 4, 4), (64, 2, 2), (64, 1, 1)]


def refused(path: Path) -> str:
    with pytest.raises(BrokenCheckpoint) as caught:
        load_control(path, device=CPU, dtype=torch.float32)
    return caught.value.reason


def changed(path: Path, changes: dict[str, Tensor | None]) -> Path:
    """A copy of a file with some tensors replaced, or without them."""
    tensors = load_file(path) | {name: value for name, value in changes.items() if value is not None}
    for name, value in changes.items():
        if value is None:
            del tensors[name]
    save_file(tensors, path.with_stem("changed"))
    return path.with_stem("changed")


def test_other_files_are_named(tmp_path: Path) -> None:
    assert "it is a checkpoint" in refused(write_tiny_checkpoint(tmp_path / "model.safetensors"))
    save_file(
        {"lora_unet_mid_block_attentions_0_proj_in.lora_up.weight": torch.ones(4, 4)}, tmp_path / "lora.safetensors"
    )
    assert "it is a LoRA" in refused(tmp_path / "lora.safetensors")
    save_file({"something": torch.ones(4, 4, 4)}, tmp_path / "unknown.safetensors")
    assert "not a ControlNet" in refused(tmp_path / "unknown.safetensors")
    with pytest.raises(UnknownCheckpoint):
        load_control(tmp_path / "missing.safetensors", device=CPU, dtype=torch.float32)


def test_controlnets_of_other_models_are_named(tmp_path: Path) -> None:
    control = write_controlnet(tmp_path / "control.safetensors")
    xl = changed(control, {"control_model.label_emb.0.0.weight": torch.ones(4, 4)})
    assert "Stable Diffusion XL" in refused(xl)
    second = write_controlnet(tmp_path / "second.safetensors", context=1024)
    assert "Stable Diffusion 2" in refused(second)
    assert "4 channels" in refused(write_controlnet(tmp_path / "four.safetensors", colours=4))
    adapter = write_adapter(tmp_path / "adapter.safetensors", colours=4)
    assert "Stable Diffusion XL" in refused(adapter)


def test_a_damaged_file_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    control = write_controlnet(tmp_path / "control.safetensors")
    name = "control_model.zero_convs.2.0.weight"
    assert "1 of its" in refused(changed(control, {name: None}))
    assert name in refused(changed(control, {name: torch.ones(3, 3, 1, 1)}))
    assert "NaN" in refused(changed(control, {name: torch.full((32, 32, 1, 1), torch.nan)}))
    assert "no place" in refused(changed(control, {"control_model.zero_convs.2.1.weight": torch.ones(1)}))
    content = control.read_bytes()
    control.write_bytes(content[: len(content) // 2])
    assert "truncated" in refused(control)
    adapter = write_adapter(tmp_path / "adapter.safetensors")
    assert "block1" in refused(changed(adapter, {"body.3.block1.weight": None}))
    assert "blocks" in refused(changed(adapter, {"body.8.block1.weight": torch.ones(64, 64, 3, 3)}))
