"""Upscalers: files of three programs hold the same network; what is none is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.checkpoint.upscaler import inspect_upscaler, load_upscaler
from engine.errors import BrokenCheckpoint
from tests.loading import CPU, write

FEATURES, GROWTH, BLOCKS = 8, 4, 2


def weights(entering: int = 3, enlargements: int = 2) -> dict[str, Tensor]:
    """A network's tensors by their names in basicsr's files."""
    sides = {"conv_first": (FEATURES, entering), "conv_last": (3, FEATURES)}
    for block in range(BLOCKS):
        for part in (1, 2, 3):
            for layer in range(1, 6):
                sides[f"body.{block}.rdb{part}.conv{layer}"] = (
                    FEATURES if layer == 5 else GROWTH,
                    FEATURES + GROWTH * (layer - 1),
                )
    for name in ("conv_body", "conv_hr", *(f"conv_up{number + 1}" for number in range(enlargements))):
        sides[name] = (FEATURES, FEATURES)
    generator = torch.Generator().manual_seed(entering)
    made = {f"{name}.weight": torch.randn(*each, 3, 3, generator=generator) * 0.2 for name, each in sides.items()}
    return made | {f"{name}.bias": torch.randn(each[0], generator=generator) for name, each in sides.items()}


def renamed(tensors: Mapping[str, Tensor], rules: Mapping[str, str]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in tensors.items():
        other = name
        for old, new in rules.items():
            other = other.replace(old, new)
        found[other] = tensor
    return found


def in_sequence(tensors: Mapping[str, Tensor], enlargements: int) -> dict[str, Tensor]:
    """As the first release of ESRGAN numbered them."""
    places = {"conv_first": "model.0", "conv_body": f"model.1.sub.{BLOCKS}"}
    places |= {f"conv_up{number + 1}": f"model.{3 * number + 3}" for number in range(enlargements)}
    last = 3 * enlargements + 2
    places |= {"conv_hr": f"model.{last}", "conv_last": f"model.{last + 2}"}
    found = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        if module.startswith("body"):
            _, block, part, layer = module.split(".")
            module = f"model.1.sub.{block}.{part.upper()}.{layer}.0"
        found[f"{places.get(module, module)}.{leaf}"] = tensor
    return found


def enlarged(path: Path, picture: Tensor) -> Tensor:
    work = load_upscaler(path, device=CPU)(picture)
    while True:
        try:
            next(work)
        except StopIteration as end:
            made: Tensor = end.value
            return made


class Reference(nn.Module):
    """The network, written as in the paper, from its tensors by name."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.tensors = tensors

    def conv(self, name: str, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], padding=1)

    def dense(self, name: str, x: Tensor) -> Tensor:
        found = x
        for layer in range(1, 5):
            found = torch.cat([found, functional.leaky_relu(self.conv(f"{name}.conv{layer}", found), 0.2)], 1)
        return self.conv(f"{name}.conv5", found) * 0.2 + x

    def forward(self, x: Tensor) -> Any:
        first = self.conv("conv_first", x)
        body = first
        for block in range(BLOCKS):
            inner = body
            for part in (1, 2, 3):
                inner = self.dense(f"body.{block}.rdb{part}", inner)
            body = inner * 0.2 + body
        x = first + self.conv("conv_body", body)
        for number in range(sum("conv_up" in name for name in self.tensors) // 2):
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = functional.leaky_relu(self.conv(f"conv_up{number + 1}", x), 0.2)
        return self.conv("conv_last", functional.leaky_relu(self.conv("conv_hr", x), 0.2))


@pytest.mark.parametrize("enlargements", [0, 1, 2, 3])
def test_it_computes_the_papers_network(tmp_path: Path, enlargements: int) -> None:
    tensors, picture = weights(enlargements=enlargements), torch.rand(1, 3, 5, 7)
    path = write(tmp_path / "a.safetensors", tensors)
    assert inspect_upscaler(path).factor == 2**enlargements
    assert torch.allclose(enlarged(path, picture), Reference(tensors)(picture), atol=1e-4)


@pytest.mark.parametrize("enlargements", [0, 1, 2])
def test_all_three_programs_names_are_read(tmp_path: Path, enlargements: int) -> None:
    tensors, picture = weights(enlargements=enlargements), torch.rand(1, 3, 5, 7)
    author = {"conv_body": "trunk_conv", "body.": "RRDB_trunk.", "rdb": "RDB", "conv_up": "upconv", "conv_hr": "HRconv"}
    wanted = enlarged(write(tmp_path / "a.safetensors", tensors), picture)
    for number, names in enumerate((renamed(tensors, author), in_sequence(tensors, enlargements))):
        assert torch.equal(enlarged(write(tmp_path / f"{number}.safetensors", names), picture), wanted)


@pytest.mark.parametrize("key", ["params_ema", "params", None])
def test_pickles_are_read_without_running_them(tmp_path: Path, key: str | None) -> None:
    tensors, picture = weights(), torch.rand(1, 3, 5, 7)
    torch.save(tensors if key is None else {key: tensors}, tmp_path / "a.pth")
    assert torch.equal(
        enlarged(tmp_path / "a.pth", picture), enlarged(write(tmp_path / "a.safetensors", tensors), picture)
    )


@pytest.mark.parametrize(("entering", "factor"), [(12, 2), (48, 1)])
@pytest.mark.parametrize(("height", "width"), [(6, 4), (5, 7), (1, 1)])
def test_pixels_may_be_folded_into_channels(
    tmp_path: Path, entering: int, factor: int, height: int, width: int
) -> None:
    path = write(tmp_path / "a.safetensors", weights(entering))
    assert inspect_upscaler(path).factor == factor
    assert enlarged(path, torch.rand(1, 3, height, width)).shape == (1, 3, height * factor, width * factor)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conv_first.weight": None}, "no upscaler of the ESRGAN kind"),
        ({"conv_hr.weight": None}, "conv_hr.weight is missing"),
        ({"body.1.rdb2.conv3.weight": torch.zeros(1, 1, 3, 3)}, "rdb2.conv3.weight has shape"),
        ({"conv_last.bias": torch.full((3,), float("nan"))}, "NaN"),
        ({"upsampler.weight": torch.zeros(1)}, "upsampler.weight has no place"),
        ({"conv_first.weight": torch.zeros(FEATURES, 5, 3, 3)}, "no upscaler of the ESRGAN kind"),
    ],
)
def test_what_is_no_sound_upscaler_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    tensors = {name: tensor for name, tensor in (weights() | change).items() if tensor is not None}
    with pytest.raises(BrokenCheckpoint, match=reason):
        load_upscaler(write(tmp_path / "a.safetensors", tensors), device=CPU)


def test_a_file_that_makes_pictures_smaller_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint, match="smaller"):
        inspect_upscaler(write(tmp_path / "a.safetensors", weights(entering=48, enlargements=1)))
