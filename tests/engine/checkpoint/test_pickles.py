"""PyTorch pickles load if they hold nothing but tensors, and are never run."""

from __future__ import annotations

import collections
import os
import pickle
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.checkpoint import inspect_checkpoint
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


def same(path: Path, tiny: Path) -> bool:
    ours, theirs = load(path), load(tiny)
    pairs = ((ours.unet, theirs.unet), (ours.vae, theirs.vae), (ours.text_encoder, theirs.text_encoder))
    return all(
        torch.equal(a, b) for mine, other in pairs for a, b in zip(mine.parameters(), other.parameters(), strict=True)
    )


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".PTH", ".bin"])
def test_pickles_of_nothing_but_tensors_load(tmp_path: Path, tiny: Path, legacy: bool, suffix: str) -> None:
    content = {"state_dict": TENSORS | {SOME_WEIGHT: torch.nn.Parameter(TENSORS[SOME_WEIGHT])}, "global_step": 3}
    path = write_pickle(tmp_path / f"old{suffix}", content if suffix == ".ckpt" else content["state_dict"], legacy)
    assert same(path, tiny)
    assert inspect_checkpoint(path).size_bytes(torch.bfloat16) == load(tiny).size_bytes // 2


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of a training program that is not installed where its checkpoint is read."""
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    kind = type("ModelCheckpoint", (), {"__module__": module.__name__})
    module.ModelCheckpoint = kind  # type: ignore[attr-defined]
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return kind


@pytest.mark.parametrize("legacy", [False, True])
def test_what_a_training_program_saves_loads_without_the_program(
    tmp_path: Path, tiny: Path, lightning: Any, legacy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = lightning()
    callback.best_model_score, callback.dirpath = torch.tensor(0.5), Path("logs")
    average = {f"model_ema.{name.removeprefix('model.').replace('.', '')}": t for name, t in WEIGHTS.items()}
    content = {
        "epoch": 7,
        "global_step": np.int64(470000),
        "pytorch-lightning_version": "1.4.2",
        "state_dict": collections.OrderedDict(TENSORS | average | {"model_ema.decay": torch.tensor(0.9999)}),
        "callbacks": {lightning: {"best": np.float64(1.5), "score": callback.best_model_score}, "last": callback},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3), "step": 2}}, "param_groups": [{"lr": 1e-4}]}],
        "lr_schedulers": [collections.defaultdict(list, {"base_lrs": [np.array([1.0, 2.0])]})],
        "hparams": {"when": (1, 2), "kinds": {3, 4}, "path": Path("data")},
    }
    path = write_pickle(tmp_path / "trained.ckpt", content, legacy)
    for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
        monkeypatch.delitem(sys.modules, name)
    assert same(path, tiny)


@pytest.mark.parametrize("how", ["zip", "legacy"])
def test_a_malicious_pickle_is_read_and_not_run(tmp_path: Path, tiny: Path, how: str) -> None:
    target, path = tmp_path / "pwned", tmp_path / "evil.ckpt"
    write_pickle(path, {"state_dict": TENSORS, "callbacks": Malicious(target)}, legacy=how == "legacy")
    assert same(path, tiny)
    assert inspect_checkpoint(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Malicious(target)))
    assert target.exists()  # it would have been


def test_a_malicious_pickle_in_a_weights_place_is_not_run(tmp_path: Path) -> None:
    target = tmp_path / "pwned"
    path = write_pickle(tmp_path / "evil.ckpt", {"state_dict": TENSORS | {SOME_WEIGHT: Malicious(target)}})
    assert "1 of its" in reason(path)
    assert "missing" in reason(path)
    for protocol in (None, 2):
        path.write_bytes(pickle.dumps({"state_dict": {"a": torch.zeros(1)}, "evil": Malicious(target)}, protocol))
        assert "a pickle that torch.save did not write" in reason(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
)
@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_every_type_that_weights_are_stored_in_is_read(tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    stored = {name: tensor.to(dtype) if name in WEIGHTS else tensor for name, tensor in TENSORS.items()}
    path = tmp_path / f"stored.{suffix}"
    (write if suffix == "safetensors" else write_pickle)(path, stored)
    for wanted in (torch.float32, torch.float16):
        weight = load(path, wanted).unet.get_parameter("conv_in.weight")
        assert torch.equal(weight, stored[UNET + "input_blocks.0.0.weight"].to(wanted))


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


def test_zip_archives_that_are_no_checkpoints_and_those_that_were_packed_again(tmp_path: Path, tiny: Path) -> None:
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
    assert same(tmp_path / "packed.ckpt", tiny)
    (tmp_path / "cut.ckpt").write_bytes(b"PK\x03\x04 and no more")
    assert "zip archive of 16 bytes without its end" in reason(tmp_path / "cut.ckpt")


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
