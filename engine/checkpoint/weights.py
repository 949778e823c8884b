"""A weights file → its tensors by name, memory-mapped: safetensors, and PyTorch pickles that hold nothing but tensors.

Says what a file is when it is neither. Never runs a pickle. Knows nothing of networks.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import stat
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from engine.device.memory import out_of_memory
from engine.errors import BrokenCheckpoint, OutOfMemory, UnknownCheckpoint

PICKLE_SUFFIXES = (".ckpt", ".pt", ".pth")

_LEGACY_PICKLE = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # what torch.save wrote before it wrote zip archives
_SAFETENSORS_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
_EXECUTABLE = (
    "it contains executable pickle data{}, which is never run here; convert it to safetensors where you trust it"
)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The tensors of one file, in the file's order.

    ``dtypes`` are torch's names where the engine reads that type, else the file's own. ``take`` gives a tensor
    once: a view of the mapping where there is one, and on the CPU. It may raise anything if the file is damaged.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    take: Callable[[str], torch.Tensor]


def open_weights(path: Path, *, values: bool = True) -> Weights:
    """The tensors in ``path``; its content says what kind of file it is.

    Without ``values`` only shapes and dtypes are of use, and nothing else is read where the format allows.
    Raises ``UnknownCheckpoint`` if there is no such file, ``BrokenCheckpoint`` if it is not a weights file.
    """
    head, size = _head(path)
    try:
        if head[8:9] == b"{":
            return _open_safetensors(path)
        if head.startswith((b"PK\x03\x04", b"\x80")):
            return _open_pickle(path, head, values)
    except BrokenCheckpoint:
        raise
    except SafetensorError as error:
        raise BrokenCheckpoint(path, _damage(path, size, str(error))) from None
    except Exception as error:
        if out_of_memory(error):
            raise OutOfMemory(f"{path}: its {size:,} bytes do not fit into the memory") from error
        # the parsers behind this raise whatever damaged bytes lead them to
        raise BrokenCheckpoint(path, f"it is damaged and cannot be read ({_first_line(error)})") from error
    raise BrokenCheckpoint(path, _what_it_is(head, size))


def _head(path: Path) -> tuple[bytes, int]:
    """The first bytes of the file, and its size."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "no ordinary file"
            raise BrokenCheckpoint(path, f"it is {what}, not a checkpoint file")
        with path.open("rb") as file:
            return file.read(512), status.st_size
    except ValueError:
        raise UnknownCheckpoint("model", str(path), "the path of a checkpoint file") from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise UnknownCheckpoint("model", str(path), "the path of a checkpoint file that is there") from None
        raise BrokenCheckpoint(path, f"it cannot be read: {error.strerror}") from None


def _open_safetensors(path: Path) -> Weights:
    file: Any = safe_open(path, framework="pt", device="cpu")
    slices = {name: file.get_slice(name) for name in file.offset_keys()}
    dtypes = {name: str(entry.get_dtype()) for name, entry in slices.items()}
    return Weights(
        shapes={name: tuple(entry.get_shape()) for name, entry in slices.items()},
        dtypes={name: _SAFETENSORS_DTYPES.get(dtype, dtype) for name, dtype in dtypes.items()},
        take=file.get_tensor,
    )


def _damage(path: Path, size: int, complaint: str) -> str:
    """Why the safetensors file of ``size`` bytes cannot be read."""
    try:
        with path.open("rb") as file:
            promised = int.from_bytes(file.read(8), "little")
            if promised > size - 8:
                return f"truncated or damaged: of {size:,} bytes, its header alone should take {promised:,}"
            header = json.loads(file.read(promised))
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return f"its safetensors header is damaged ({complaint})"
    total = 8 + promised + max(ends, default=0)
    if total > size:
        return f"truncated: the file has {size:,} bytes, its header promises {total:,}"
    if total < size:
        return f"damaged: the file has {size:,} bytes, its header accounts for {total:,}"
    return f"its safetensors header is damaged ({complaint})"


def _open_pickle(path: Path, head: bytes, values: bool) -> Weights:
    archive = head.startswith(b"PK")
    if archive:
        _check_archive(path)
    if path.suffix.lower() not in PICKLE_SUFFIXES:
        # a .safetensors file is never even parsed as a pickle
        raise BrokenCheckpoint(
            path, f"it is a PyTorch pickle; those are read only when named {', '.join(PICKLE_SUFFIXES)}"
        )
    if not archive and not head.startswith(_LEGACY_PICKLE):
        raise BrokenCheckpoint(path, _EXECUTABLE.format(" that torch.save did not write"))
    try:
        content = torch.load(path, map_location="cpu" if values else "meta", weights_only=True, mmap=archive)
    except pickle.UnpicklingError as error:
        culprit = re.search(r"GLOBAL ([\w.]+)", str(error))
        if culprit is None and "weights_only" not in str(error):
            raise
        raise BrokenCheckpoint(path, _EXECUTABLE.format(f" ({culprit[1]})" if culprit else "")) from None
    tensors = _tensors(path, content)
    return Weights(
        shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
        dtypes={name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()},
        # a legacy pickle is not mapped but read: what has been taken is let go, so that it is not held twice
        take=tensors.pop,
    )


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile:
        size = os.path.getsize(path)
        raise BrokenCheckpoint(path, f"truncated or damaged: a zip archive of {size:,} bytes without its end") from None
    if not any(entry.filename.endswith("/data.pkl") for entry in entries):
        raise BrokenCheckpoint(path, f"it is a zip archive of {len(entries)} files, not a checkpoint; unpack it first")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise BrokenCheckpoint(path, "it is a PyTorch archive that was compressed again, which cannot be mapped")


def _tensors(path: Path, content: Any) -> dict[str, torch.Tensor]:
    inner = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(inner, dict):
        raise BrokenCheckpoint(path, f"it holds a {type(inner).__name__} where named tensors were expected")
    if "string_to_param" in inner:
        raise BrokenCheckpoint(path, "it is a textual-inversion embedding, not a checkpoint")
    tensors = {}
    for name, tensor in inner.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            continue
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise BrokenCheckpoint(path, f"its tensor {name} is sparse or quantized")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise BrokenCheckpoint(path, f"its tensor {name} claims more values than the file holds")
        tensors[name] = tensor.detach()
    return tensors


def _what_it_is(head: bytes, size: int) -> str:
    """What a file that begins with ``head`` is, in words."""
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
    if not any(head):
        return "it begins with nothing but zeros: an unfinished download, or a damaged disk"
    return f"it is neither safetensors nor a PyTorch checkpoint (first bytes: {head[:16]!r})"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
