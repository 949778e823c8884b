"""Whatever the bytes: a load, or our own error saying what they are. No pickle is ever run."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.checkpoint import inspect_checkpoint
from engine.device.memory import out_of_memory
from engine.errors import BrokenCheckpoint, UnknownCheckpoint
from tests.checkpoints import UNET, tiny_checkpoint_tensors, write_tiny_checkpoint
from tests.loading import load, reason, write

TENSORS = tiny_checkpoint_tensors()
WEIGHTS = {name: tensor for name, tensor in TENSORS.items() if tensor.is_floating_point()}
SOME_WEIGHT = UNET + "input_blocks.1.0.in_layers.2.weight"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("checkpoints") / "tiny.safetensors", TENSORS)


def test_no_such_file(tmp_path: Path, tiny: Path) -> None:
    for path in (tmp_path / "none.safetensors", tiny / "below", tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(UnknownCheckpoint) as caught:
            load(path)
        assert caught.value.field == "model"


def test_folders_and_pipes(tmp_path: Path) -> None:
    assert "folder" in reason(tmp_path)
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert "no ordinary file" in reason(tmp_path / "pipe.safetensors")


@pytest.fixture
def not_root() -> Iterator[None]:
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    yield
    os.seteuid(me)


def test_a_file_that_may_not_be_read(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = write_tiny_checkpoint(tmp_path / "secret.safetensors")
    path.chmod(0)
    request.getfixturevalue("not_root")
    assert "cannot be read: Permission denied" in reason(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html>Sign in", "web page"),
        (b'{"error": "gated"}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"GGUF\x03\0\0\0", "GGUF"),
        (bytes(100_000), "zeros"),
        (b"hello", "neither safetensors nor a PyTorch checkpoint"),
        (struct.pack("<Q", 2) + b"{}", "no Stable Diffusion 1.x tensors"),
        (struct.pack("<Q", 5) + b"{oh }", "header is damaged"),
        (struct.pack("<Q", 2**63) + b"{}", "truncated or damaged"),
        (struct.pack("<Q", 2) + b"{}trailing", "its header accounts for 10"),
        (b"\x80\x04}.", "PyTorch pickle; those are read only when named .ckpt"),
        (b"PK\x03\x04 and no more", "PyTorch pickle; those are read only when named .ckpt"),
    ],
)
def test_it_says_what_the_bytes_are(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "download.safetensors"
    path.write_bytes(content)
    assert expected in reason(path)


def test_a_truncated_file_says_how_much_is_missing(tmp_path: Path, tiny: Path) -> None:
    content = tiny.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(content[:-1000])
    assert (
        reason(path) == f"truncated: the file has {len(content) - 1000:,} bytes, its header promises {len(content):,}"
    )


def header_and_body(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(header: Any, body: bytes, padding: int = 0) -> bytes:
    text = json.dumps(header).encode() + b" " * padding
    return struct.pack("<Q", len(text)) + text + body


def test_headers_of_odd_length_are_no_obstacle(tmp_path: Path, tiny: Path) -> None:
    header, body = header_and_body(tiny.read_bytes())
    path = tmp_path / "odd.safetensors"
    for padding in range(2):
        path.write_bytes(with_header(header, body, padding))
        load(path)


def loads_or_raises_our_own(path: Path) -> None:
    for read in (load, inspect_checkpoint):
        with contextlib.suppress(BrokenCheckpoint, UnknownCheckpoint):
            read(path)


@settings(max_examples=15, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 80_000), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes_in_the_header(tiny: Path, flips: list[tuple[int, int]]) -> None:
    path = tiny.with_name("flipped.safetensors")
    content = bytearray(tiny.read_bytes())
    for place, mask in flips:
        content[place] ^= mask
    path.write_bytes(content)
    loads_or_raises_our_own(path)


@settings(max_examples=6, deadline=None)
@given(place=st.floats(0, 1), noise=st.binary(min_size=1, max_size=64))
def test_noise_anywhere(tiny: Path, place: float, noise: bytes) -> None:
    path = tiny.with_name("noisy.safetensors")
    content = bytearray(tiny.read_bytes())
    start = int(place * (len(content) - len(noise)))
    content[start : start + len(noise)] = noise
    path.write_bytes(content)
    loads_or_raises_our_own(path)


@settings(max_examples=25, deadline=None)
@given(length=st.one_of(st.integers(0, 200), st.integers(0, 11_000_000)))
def test_truncation_anywhere(tiny: Path, length: int) -> None:
    path = tiny.with_name("short.safetensors")
    path.write_bytes(tiny.read_bytes()[:length])
    assert reason(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(TENSORS)),
    field=st.sampled_from(["dtype", "shape", "data_offsets", ""]),
    value=JSON | st.sampled_from(["F8_E4M3", "I64", "F4", [0, 0], [2**62, 2**62], [-1], [0, 2**64]]),
)
def test_edited_headers(tiny: Path, name: str, field: str, value: Any) -> None:
    header, body = header_and_body(tiny.read_bytes())
    if field:
        header[name][field] = value
    else:
        header[name] = value
    path = tiny.with_name("edited.safetensors")
    path.write_bytes(with_header(header, body))
    loads_or_raises_our_own(path)


@settings(max_examples=60, deadline=None)
@given(
    head=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", struct.pack("<Q", 30) + b"{"]),
    content=st.binary(max_size=300),
    suffix=st.sampled_from([".safetensors", ".ckpt"]),
)
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, head: bytes, content: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"random{suffix}"
    path.write_bytes(head + content)
    assert reason(path)


def test_want_of_memory_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55)
    assert out_of_memory(caught.value)
