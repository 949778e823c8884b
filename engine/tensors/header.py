"""A weights file of any format → the descriptions of its tensors; says what a file is that has none.

What kind of file it is, is found in its first bytes. Knows no torch and no network.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.tensors.entries import ITEM_SIZES, Entry, Place, TensorFile, UnreadableFile

PICKLE_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
"""Of files that may be pickles; a file with another name is never read as one."""

LONGEST_HEADER = 100_000_000
"""The bytes of a safetensors file's header at most, by the format's own rule."""

_DTYPES: Mapping[str, str] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def torch_dtype_name(dtype: str) -> str:
    """Return torch's name for a type of a safetensors file; the file's own where torch has none."""
    return _DTYPES.get(dtype, dtype)


def read_tensor_file(path: Path) -> TensorFile:
    """Return what the file in ``path`` holds. Raises ``UnreadableFile``, and ``OSError`` where it cannot be read."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise UnreadableFile(f"it is {'a folder' if stat.S_ISDIR(status.st_mode) else 'no ordinary file'}")
    with path.open("rb") as file:
        head = file.read(512)
    if head[8:9] == b"{":
        return _read_safetensors(path)
    archive = head.startswith(b"PK\x03\x04")
    if archive or head.startswith(b"\x80"):
        if path.suffix.lower() not in PICKLE_SUFFIXES:
            names = ", ".join(PICKLE_SUFFIXES)
            raise UnreadableFile(f"it is a PyTorch pickle; those are read only when named {names}")
        from engine.tensors.pickles import LEGACY, read_archive, read_legacy  # few installations have such files

        if not archive and not head.startswith(LEGACY):
            raise UnreadableFile("it is a pickle that torch.save did not write")
        try:
            return read_archive(path) if archive else read_legacy(path)
        except (UnreadableFile, OSError):
            raise
        except Exception as error:  # the parsers behind this raise whatever damaged bytes lead them to
            raise UnreadableFile(f"it is damaged and cannot be read ({type(error).__name__}: {error})"[:300]) from None
    raise UnreadableFile(what_it_is(head, status.st_size))


def _read_safetensors(path: Path) -> TensorFile:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, LONGEST_HEADER):
            raise UnreadableFile(f"truncated or damaged: of {size:,} bytes, its header alone should take {length:,}")
        text = file.read(length)
    try:
        header: dict[str, Any] = json.loads(text)
        metadata = header.pop("__metadata__", None) or {}
        found = {name: _entry(entry, 8 + length) for name, entry in header.items()}
        entries = dict(sorted(found.items(), key=lambda item: item[1].place.start))
        texts = {str(key): str(value) for key, value in metadata.items()}
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        raise UnreadableFile(f"its safetensors header is damaged ({type(error).__name__})") from None
    end = max((entry.place.start + entry.place.size for entry in entries.values()), default=0)
    end = max(end, 8 + length)
    if end > size:
        raise UnreadableFile(f"truncated: the file has {size:,} bytes, its header promises {end:,}")
    if end < size:
        raise UnreadableFile(f"damaged: the file has {size:,} bytes, its header accounts for {end:,}")
    return TensorFile(entries=entries, strange={}, metadata=texts)


def _entry(entry: Any, start: int) -> Entry:
    first, last = map(int, entry["data_offsets"])
    shape = tuple(map(int, entry["shape"]))
    if min(first, last - first, *shape, 0) < 0:
        raise ValueError("sizes that are no sizes")
    dtype = torch_dtype_name(str(entry["dtype"]))
    if dtype in ITEM_SIZES and ITEM_SIZES[dtype] * math.prod(shape) != last - first:
        raise ValueError("a shape that does not fit its bytes")
    return Entry(dtype=dtype, shape=shape, place=Place(start=start + first, size=last - first))


def what_it_is(head: bytes, size: int) -> str:
    """Return in words what a file is that begins with ``head`` and is no weights file."""
    text = head.lstrip().lower()
    if not size:
        return "it is empty"
    if text.startswith(b"<"):
        return "it is a web page, not a checkpoint: the download went wrong"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer of a few bytes; fetch the file that it stands for"
    if text.startswith(b"gguf"):
        return "it is a GGUF file, not a single-file checkpoint"
    if text.startswith(b"{"):
        return "it is JSON, not a checkpoint: the download may have gone wrong"
    if head[257:262] == b"ustar":
        return "it is a tar archive, which torch.save wrote before there were Stable Diffusion models; unpack it first"
    if not any(head):
        return "it begins with nothing but zeros: an unfinished download, or a damaged disk"
    return f"it is neither safetensors nor a PyTorch checkpoint (first bytes: {head[:16]!r})"
