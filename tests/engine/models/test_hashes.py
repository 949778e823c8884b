"""The hash by which AUTOMATIC1111's tools know a LoRA is that of its tensors, whatever else its file says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.models.hashes import adapter_hash, embedding_hash, recorded_hash, remember, whole_hash


def test_a_loras_hash_is_that_of_its_tensors(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(4.0)}
    plain, described = tmp_path / "plain.safetensors", tmp_path / "described.safetensors"
    save_file(tensors, plain)
    save_file(tensors, described, metadata={"ss_output_name": "ink"})
    assert adapter_hash(plain) == adapter_hash(described)
    assert adapter_hash(plain) == hashlib.sha256(tensors["a"].numpy().tobytes()).hexdigest()[:12]
    save_file({"a": torch.arange(4.0) + 1}, described)
    assert adapter_hash(plain) != adapter_hash(described)


def test_another_files_hash_is_that_of_the_whole(tmp_path: Path) -> None:
    file = tmp_path / "ink.pt"
    file.write_bytes(b"tensors")
    assert adapter_hash(file) == hashlib.sha256(b"tensors").hexdigest()[:12]


def test_a_whole_file_has_the_recorded_hash_or_its_own(tmp_path: Path) -> None:
    file = tmp_path / "style.pt"
    file.write_bytes(b"vectors")
    digest = hashlib.sha256(b"vectors").hexdigest()
    assert (whole_hash(file), embedding_hash(file)) == (digest, digest[:12])
    file.write_bytes(b"other vectors")
    assert whole_hash(file) == hashlib.sha256(b"other vectors").hexdigest()
    remember(file, "abc")
    assert whole_hash(file) == "abc"


@pytest.mark.parametrize("kept", [2, 1, 0])
def test_a_record_that_lacks_its_hash_is_as_good_as_none(tmp_path: Path, kept: int) -> None:
    file, record = tmp_path / "style.pt", tmp_path / ".hashes.json"
    file.write_bytes(b"vectors")
    remember(file, "abc")
    record.write_text(json.dumps({name: entry[:kept] for name, entry in json.loads(record.read_text()).items()}))
    assert recorded_hash(file) is None
