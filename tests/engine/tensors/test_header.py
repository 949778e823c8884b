"""The tensors of a file are described whatever its format is; of a file that holds none it is said what it is."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engine.checkpoint.weights import open_weights
from engine.tensors.entries import TensorFile, UnreadableFile
from engine.tensors.header import read_tensor_file
from engine.tensors.kinds import content_by_shapes

VECTORS = torch.arange(12.0).reshape(3, 4)


def saved(path: Path, content: Any, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def kind_of(file: TensorFile) -> str | None:
    return content_by_shapes(file.shapes, file.nested).kind


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("content", "nested", "names", "kind"),
    [
        (
            {"string_to_token": {"*": 265}, "string_to_param": {"*": VECTORS}, "name": "a"},
            "string_to_param",
            ["*"],
            "embeddings",
        ),
        ([{"a": VECTORS}, {"b": VECTORS}], "[]", ["0.a", "1.b"], "embeddings"),
        ({"<word>": VECTORS[0]}, "", ["<word>"], "embeddings"),
        (
            {"params_ema": {"conv_first.weight": VECTORS}, "params": {}},
            "params_ema",
            ["conv_first.weight"],
            "upscale_models",
        ),
        (
            {"state_dict": {"model.diffusion_model.a": VECTORS}, "step": 1},
            "state_dict",
            ["model.diffusion_model.a"],
            "checkpoints",
        ),
        ({320: ({"linear.0.weight": VECTORS},), "step": 1}, "", [], None),
    ],
)
def test_tensors_are_found_where_programs_put_them(
    tmp_path: Path, content: Any, nested: str, names: list[str], kind: str | None, legacy: bool
) -> None:
    file = read_tensor_file(saved(tmp_path / "a.pt", content, legacy))
    assert (list(file.entries), file.nested, kind_of(file)) == (names, nested, kind)


@pytest.mark.parametrize("legacy", [False, True])
def test_views_of_one_storage_have_their_own_values(tmp_path: Path, legacy: bool) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    views = {"whole": whole, "turned": whole.T, "part": whole[1:3, 2:5], "one": whole[2, 3], "none": whole[:0]}
    views |= {"half": whole.half()[1], "odd": torch.tensor([1, 2, 3], dtype=torch.uint8), "flag": torch.tensor(True)}
    weights = open_weights(saved(tmp_path / "views.pt", views, legacy))
    for name, view in views.items():
        assert torch.equal(weights.take(name), view)
        assert (weights.shapes[name], weights.dtypes[name]) == (tuple(view.shape), str(view.dtype)[6:])


def test_a_safetensors_file_is_read_in_the_order_of_its_values(tmp_path: Path) -> None:
    tensors = {"b": VECTORS, "a": VECTORS.half(), "c": torch.tensor(3)}
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, metadata={"ss_network_dim": "8"})
    file, weights = read_tensor_file(path), open_weights(path)
    assert dict(file.metadata) == {"ss_network_dim": "8"}
    starts = [entry.place.start for entry in file.entries.values()]
    assert starts == sorted(starts)
    assert all(torch.equal(weights.take(name), tensor) for name, tensor in tensors.items())


def test_no_values_are_read_for_a_description(tmp_path: Path) -> None:
    """The file claims a hundred gigabytes, of which the disk has the header alone."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [25 << 30], "data_offsets": [0, 100 << 30]}}).encode()
    path = tmp_path / "sparse.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(path, 8 + len(header) + (100 << 30))
    assert read_tensor_file(path).shapes == {"a": (25 << 30,)}


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"PK\x03\x04", "zip archive of 200 bytes without its end"),
        (b"\x80\x02}.", "a pickle that torch.save did not write"),
        (bytes(100) + b"1234567".rjust(157, b"0") + b"ustar", "tar archive"),
    ],
)
def test_what_is_no_weights_file_is_named(tmp_path: Path, head: bytes, said: str) -> None:
    path = tmp_path / "odd.pt"
    path.write_bytes(head.ljust(200, b"x") if len(head) < 200 else head)
    with pytest.raises(UnreadableFile, match=said):
        read_tensor_file(path)


def test_a_pickle_too_large_to_be_torchs_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 27))
    with pytest.raises(UnreadableFile, match="none of torch's"):
        read_tensor_file(tmp_path / "bomb.ckpt")


def test_an_old_file_of_endless_text_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = saved(tmp_path / "old.pt", {"a": VECTORS}, legacy=True)
    start = path.read_bytes().index(b"}q")  # of the main pickle, behind the three that say how it was written
    for text in (b"X" + struct.pack("<I", 1 << 26), b"S'"):
        path.write_bytes(path.read_bytes()[:start] + text)
        os.truncate(path, 1 << 27)
        with pytest.raises(UnreadableFile, match="its pickle is damaged"):
            read_tensor_file(path)


def test_an_old_file_whose_sizes_disagree_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "old.pt", {"a": VECTORS}, legacy=True)
    whole = bytearray(path.read_bytes())
    at = len(whole) - VECTORS.numel() * 4 - 8
    assert int.from_bytes(whole[at : at + 8], "little") == VECTORS.numel()
    whole[at] += 1
    path.write_bytes(whole)
    with pytest.raises(UnreadableFile, match="damaged: the sizes"):
        read_tensor_file(path)
