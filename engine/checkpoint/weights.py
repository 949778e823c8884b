"""A weights file → its tensors by name, memory-mapped: safetensors, and what torch.save wrote, which is never run.

Says what a file is when it is neither. Knows nothing of networks.
"""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.device.memory import out_of_memory
from engine.errors import BrokenCheckpoint, OutOfMemory, UnknownCheckpoint
from engine.tensors.entries import Entry, TensorFile, UnreadableFile
from engine.tensors.header import read_tensor_file
from engine.tensors.pickles import shown


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The tensors of one file, in the file's order."""

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    """torch's names where torch has the type, else the file's own."""
    nested: str
    """The key of what was saved under which the tensors lay: ``state_dict``, ``string_to_param``; "" for none."""
    take: Callable[[str], torch.Tensor]
    """Gives a tensor on the CPU: a view of the mapped file. It may raise anything if the file has changed since."""


def open_weights(path: Path, *, values: bool = True) -> Weights:
    """Return the tensors in ``path``; its content says what kind of file it is.

    Without ``values`` only shapes and dtypes are of use. Raises ``UnknownCheckpoint`` if there is no such file,
    ``BrokenCheckpoint`` if it is not a weights file.
    """
    try:
        file = read_tensor_file(path)
    except UnreadableFile as error:
        raise BrokenCheckpoint(path, str(error)) from None
    except ValueError:
        raise UnknownCheckpoint("model", str(path), "the path of a checkpoint file") from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise UnknownCheckpoint("model", str(path), "the path of a checkpoint file that is there") from None
        raise BrokenCheckpoint(path, f"it cannot be read: {error.strerror}") from None
    for name, what in file.strange.items():
        raise BrokenCheckpoint(path, f"its tensor {shown(name)} is {what}")
    return Weights(
        shapes=file.shapes,
        dtypes={name: entry.dtype for name, entry in file.entries.items()},
        nested=file.nested,
        take=_Values(path, file).take if values else _none,
    )


def _none(name: str) -> torch.Tensor:
    raise AssertionError(f"{name}: the file was opened for its shapes alone")


class _Values:
    """The values of a file's tensors, mapped into memory."""

    def __init__(self, path: Path, file: TensorFile) -> None:
        self._path = path
        self._file = file
        size = path.stat().st_size
        try:
            self._bytes = torch.UntypedStorage.from_file(str(path), False, size)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise OutOfMemory(f"{path.name}: its {size:,} bytes do not fit into the memory") from error

    def take(self, name: str) -> torch.Tensor:
        """A view of the file; of a packed archive, or where the processor wants its values elsewhere, a copy."""
        entry = self._file.entries[name]
        dtype = getattr(torch, entry.dtype)
        values = self._unpacked(entry) if entry.place.member else self._mapped(entry, dtype)
        stride = entry.stride if entry.stride is not None else torch.empty(entry.shape, device="meta").stride()
        return torch.empty(0, dtype=dtype).set_(values, entry.offset, entry.shape, stride)

    def _mapped(self, entry: Entry, dtype: torch.dtype) -> torch.UntypedStorage:
        place = entry.place
        values: torch.UntypedStorage = self._bytes[place.start : place.start + place.size]
        return values if place.start % dtype.itemsize == 0 else values.clone()

    def _unpacked(self, entry: Entry) -> torch.UntypedStorage:
        with zipfile.ZipFile(self._path) as archive:
            data = bytearray(archive.read(entry.place.member))
        return torch.frombuffer(data, dtype=torch.uint8).untyped_storage()
