"""Loading checkpoints in tests, on the CPU, and what a refusal says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.checkpoint import Checkpoint, load_checkpoint
from engine.errors import BrokenCheckpoint

CPU = torch.device("cpu")


def load(path: Path, dtype: torch.dtype = torch.float32) -> Checkpoint:
    return load_checkpoint(path, device=CPU, dtype=dtype)


def write(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def reason(path: Path, dtype: torch.dtype = torch.float32) -> str:
    """Why ``path`` is refused; the error must name the file."""
    with pytest.raises(BrokenCheckpoint) as caught:
        load(path, dtype)
    assert str(path) in str(caught.value)
    return caught.value.reason
