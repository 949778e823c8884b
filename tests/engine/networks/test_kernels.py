"""The fused kernels in Triton's interpreter, for machines without a GPU: ``make kernels``. ``test_gpu`` is for one."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType

import pytest
import torch

from engine.networks.operations import Operations
from tests.engine.networks.kernel_checks import check_decoder, check_encoder, check_kernels, check_unet

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="`make kernels` has them run in Triton's interpreter"
)

LIKE = torch.zeros((), dtype=torch.float32)


@pytest.fixture(scope="module")
def kernels() -> ModuleType:
    return importlib.import_module("engine.networks.kernels")


@pytest.fixture
def fused(kernels: ModuleType) -> Operations:
    return Operations(layout=torch.channels_last, kernels=kernels)


@pytest.mark.parametrize(("channels", "height", "width"), [(64, 3, 5), (96, 17, 19), (32, 1, 2)])
def test_kernels_compute_what_torch_computes(fused: Operations, channels: int, height: int, width: int) -> None:
    check_kernels(fused, channels, height, width, LIKE)


def test_a_group_norm_looks_at_many_chunks_in_turn(fused: Operations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.networks.group_norm._CHUNKS", 2)
    check_kernels(fused, 32, 17, 17, LIKE)  # 289 pixels are five chunks


def test_a_group_norm_has_chunks_of_many_pixels(fused: Operations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.networks.group_norm._MOST_CHUNKS", 3)
    check_kernels(fused, 32, 17, 17, LIKE)


def test_the_unet_with_kernels_is_the_one_without(fused: Operations, tiny_checkpoint: Path) -> None:
    check_unet(fused, tiny_checkpoint, 1, 8, LIKE, 1e-4)


def test_the_decoder_with_kernels_is_the_one_without(fused: Operations, tiny_checkpoint: Path) -> None:
    check_decoder(fused, tiny_checkpoint, 4, LIKE, 1e-4)


def test_the_encoder_with_kernels_is_the_one_without(fused: Operations, tiny_checkpoint: Path) -> None:
    check_encoder(fused, tiny_checkpoint, 4, LIKE, 1e-4)
