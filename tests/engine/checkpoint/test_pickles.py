"""PyTorch pickles load if they hold nothing but tensors, and are never run."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.checkpoint import inspect_checkpoint
from engine.errors import BrokenCheckpoint
from tests.checkpoints import UNET, tiny_checkpoint_tensors
from tests.loading import load, reason, write

TENSORS = tiny_checkpoint_tensors()
WEIGHTS = {name: tensor for name, tensor in TENSORS.items() if tensor.is_floating_point()}
SOME_WEIGHT = UNET + "input_blocks.1.0.in_layers.2.weight"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("checkpoints") / "tiny.safetensors", TENSORS)


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


def write_pickle(path: Path, content: Any, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".PTH"])
def test_pickles_of_nothing_but_tensors_load(tmp_path: Path, tiny: Path, legacy: bool, suffix: str) -> None:
    content = {"state_dict": TENSORS | {SOME_WEIGHT: torch.nn.Parameter(TENSORS[SOME_WEIGHT])}, "global_step": 3}
    path = write_pickle(tmp_path / f"old{suffix}", content if suffix == ".ckpt" else content["state_dict"], legacy)
    ours, theirs = load(path), load(tiny)
    assert all(torch.equal(a, b) for a, b in zip(ours.unet.parameters(), theirs.unet.parameters(), strict=True))
    assert inspect_checkpoint(path).size_bytes(torch.bfloat16) == theirs.size_bytes // 2


@pytest.mark.parametrize("how", ["zip", "legacy", "plain", "protocol 2"])
def test_a_malicious_pickle_is_not_run(tmp_path: Path, how: str) -> None:
    target, path = tmp_path / "pwned", tmp_path / "evil.ckpt"
    content = {"state_dict": {"a": torch.zeros(1)}, "callbacks": Malicious(target)}
    if how in ("zip", "legacy"):
        write_pickle(path, content, legacy=how == "legacy")
    else:
        path.write_bytes(pickle.dumps(content, protocol=2 if how == "protocol 2" else None))
    for read in (load, inspect_checkpoint):
        with pytest.raises(BrokenCheckpoint, match=r"executable pickle data.*convert it to safetensors"):
            read(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Malicious(target)))
    assert target.exists()  # it would have been


def test_a_pickle_named_safetensors_is_not_parsed(tmp_path: Path) -> None:
    assert "PyTorch pickle" in reason(write_pickle(tmp_path / "hidden.safetensors", TENSORS))


def test_safetensors_named_ckpt_are_safetensors(tmp_path: Path, tiny: Path) -> None:
    path = tmp_path / "renamed.ckpt"
    path.write_bytes(tiny.read_bytes())
    load(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1, 2], "holds a list"),
        ({"string_to_token": {}, "string_to_param": {"*": torch.zeros(1, 768)}}, "textual-inversion"),
        ({"state_dict": {"control_model.a": torch.zeros(1)}}, "ControlNet"),
        ({"state_dict": {1: 2}}, "no Stable Diffusion 1.x tensors"),
        (TENSORS | {SOME_WEIGHT: torch.zeros(32, 32, 3, 3).to_sparse()}, "sparse"),
        (TENSORS | {SOME_WEIGHT: torch.zeros(1).expand(32, 32, 3, 3)}, "claims more values"),
    ],
)
def test_pickles_of_other_things(tmp_path: Path, content: Any, expected: str) -> None:
    for legacy in (False, True):
        assert expected in reason(write_pickle(tmp_path / "other.ckpt", content, legacy))


def test_zip_archives_that_are_no_checkpoints(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "plain.ckpt", "w") as archive:
        archive.writestr("model.safetensors", b"x")
    assert "zip archive of 1 files" in reason(tmp_path / "plain.ckpt")
    write_pickle(tmp_path / "stored.ckpt", TENSORS)
    with (
        zipfile.ZipFile(tmp_path / "stored.ckpt") as stored,
        zipfile.ZipFile(tmp_path / "packed.ckpt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in stored.namelist():
            packed.writestr(entry, stored.read(entry))
    assert "compressed again" in reason(tmp_path / "packed.ckpt")


@pytest.fixture(scope="module")
def pickles(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, bytes]:
    folder = tmp_path_factory.mktemp("pickles")
    small = {"state_dict": {name: tensor for name, tensor in TENSORS.items() if tensor.numel() < 500}}
    return {legacy: write_pickle(folder / "small.ckpt", small, legacy).read_bytes() for legacy in (False, True)}


@settings(max_examples=60, deadline=None)
@given(legacy=st.booleans(), cut=st.booleans(), place=st.floats(0, 1), noise=st.binary(min_size=1, max_size=16))
def test_damaged_pickles(
    tiny: Path, pickles: dict[bool, bytes], legacy: bool, cut: bool, place: float, noise: bytes
) -> None:
    content = bytearray(pickles[legacy])
    start = int(place * (len(content) - len(noise)))
    content[start : len(content) if cut else start + len(noise)] = noise
    path = tiny.with_name("damaged.ckpt")
    path.write_bytes(content)
    assert reason(path)
