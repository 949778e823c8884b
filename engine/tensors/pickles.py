"""A file that torch.save wrote, a zip archive or older → its tensors, and where in the file their values lie.

Runs nothing: see ``machine``. Knows no torch.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from engine.tensors.entries import ITEM_SIZES, Entry, Place, TensorFile, UnreadableFile
from engine.tensors.kinds import LISTED
from engine.tensors.machine import read_pickle
from engine.tensors.makers import Inert, PickleError, Storage, StoredTensor

LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""What a file of torch.save began with before it wrote zip archives."""

_MOST_BYTES = 1 << 26
"""Of the pickles in a file."""

_NESTED = ("state_dict", "string_to_param", "params_ema", "params-ema", "params", "model", "module", "net", "ema")
"""Under which key the tensors may lie within what was saved; the first that is there counts."""

_LOCAL_HEADER = 30
_MOST_LISTED = 1000


class _Bounded(io.RawIOBase):
    """The beginning of a file, of which no more than ``_MOST_BYTES`` are read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_BYTES - self._file.tell():
            raise PickleError(f"it asks for {size:,} bytes, which is more than its pickles can be long")
        return self._file.read(size)

    def readline(self, size: int | None = -1) -> bytes:
        line = self._file.readline(1 << 16)
        return line if self._file.tell() <= _MOST_BYTES else b""

    def tell(self) -> int:
        return self._file.tell()


def read_archive(path: Path) -> TensorFile:
    """Return the tensors of a zip archive of torch.save. Raises ``UnreadableFile``, ``OSError``."""
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            members = {entry.filename: entry for entry in archive.infolist()}
            pickled = next((name for name in members if name.rpartition("/")[2] == "data.pkl"), None)
            if pickled is None:
                raise UnreadableFile(f"it is a zip archive of {len(members)} files, not a checkpoint; unpack it first")
            if members[pickled].file_size > _MOST_BYTES:
                raise UnreadableFile(f"its data.pkl of {members[pickled].file_size:,} bytes is none of torch's")
            saved = read_pickle(io.BytesIO(archive.read(members[pickled])))
            prefix = pickled.removesuffix("data.pkl") + "data/"
            return _tensor_file(saved.content, _Archived(file, members, prefix))
    except zipfile.BadZipFile:
        size = os.path.getsize(path)
        raise UnreadableFile(f"truncated or damaged: a zip archive of {size:,} bytes without its end") from None
    except PickleError as error:
        raise UnreadableFile(f"its pickle is damaged ({error})") from None


def read_legacy(path: Path) -> TensorFile:
    """Return the tensors of a file that torch.save wrote before torch 1.6. Raises ``UnreadableFile``, ``OSError``."""
    try:
        with path.open("rb") as file:
            bounded: Any = _Bounded(file)
            for _ in range(3):
                read_pickle(bounded)  # a magic number, a version, the sizes of C's types
            saved, keys = read_pickle(bounded), read_pickle(bounded).content
            return _tensor_file(saved.content, _legacy_places(file, saved.storages, keys))
    except PickleError as error:
        raise UnreadableFile(f"its pickle is damaged ({error})") from None


class _Archived(Mapping[str, Place]):
    """The places of storages in an archive, by their keys."""

    def __init__(self, file: BinaryIO, members: Mapping[str, zipfile.ZipInfo], prefix: str) -> None:
        self._file = file
        self._members = members
        self._prefix = prefix
        self._size = os.fstat(file.fileno()).st_size

    def __getitem__(self, key: str) -> Place:
        member = self._members[self._prefix + key]
        if member.compress_type != zipfile.ZIP_STORED:
            return Place(start=0, size=member.file_size, member=member.filename)
        self._file.seek(member.header_offset)
        header = self._file.read(_LOCAL_HEADER)
        names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        start = member.header_offset + _LOCAL_HEADER + names
        if start + member.file_size > self._size:
            raise UnreadableFile(f"truncated: {member.filename} ends beyond the {self._size:,} bytes of the file")
        return Place(start=start, size=member.file_size)

    def __iter__(self) -> Any:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def _legacy_places(file: BinaryIO, storages: Mapping[str, Storage], keys: Any) -> dict[str, Place]:
    """The places of storages: behind the pickles, in the order of ``keys``, each after its size in values."""
    end, places, start = os.fstat(file.fileno()).st_size, dict[str, Place](), file.tell()
    for key in keys if isinstance(keys, list) else ():
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None:  # its type alone would say where the next one begins
            raise UnreadableFile("it has values of a type that is not known")
        size = storage.size * ITEM_SIZES[storage.dtype]
        file.seek(start)
        if start + 8 <= end and int.from_bytes(file.read(8), "little") != storage.size:
            raise UnreadableFile("damaged: the sizes of its values are not those that its pickle promises")
        places[storage.key] = Place(start=start + 8, size=size)
        start += 8 + size
    if start > end:
        raise UnreadableFile(f"truncated: of {end:,} bytes, the values up to {start:,} are missing")
    return places


def _tensor_file(content: Any, places: Mapping[str, Place]) -> TensorFile:
    """The tensors of what was saved: a dictionary, one within it, or a list of dictionaries."""
    nested = ""
    if isinstance(content, dict):
        nested = next((key for key in _NESTED if isinstance(content.get(key), dict)), "")
        content = content[nested] if nested else content
    elif isinstance(content, list) and any(isinstance(each, dict) for each in content[:_MOST_LISTED]):
        nested, content = (
            LISTED,
            {
                f"{number}.{name}": value
                for number, each in enumerate(content[:_MOST_LISTED])
                if isinstance(each, dict)
                for name, value in each.items()
            },
        )
    if not isinstance(content, dict):
        what = content.what.name if isinstance(content, Inert) and content.what else type(content).__name__
        raise UnreadableFile(f"it holds a {what[:60]} where named tensors were expected")
    entries, strange = dict[str, Entry](), dict[str, str]()
    for name, value in content.items():
        if isinstance(value, StoredTensor):
            entries[name] = _entry(name, value, places)
        elif isinstance(value, Inert) and value.what is not None and value.what.module == "torch._utils":
            strange[name] = "sparse or quantized"
        elif isinstance(value, Inert) and value.what is not None and value.what.name.endswith("Storage"):
            strange[name] = f"of {value.what.name[:60]}"
    return TensorFile(entries=entries, nested=nested, strange=strange, metadata={})


def _entry(name: str, tensor: StoredTensor, places: Mapping[str, Place]) -> Entry:
    place = places.get(tensor.storage.key)
    if place is None:
        raise UnreadableFile(f"truncated or damaged: the values of its tensor {shown(name)} are missing")
    size = ITEM_SIZES[tensor.dtype]
    last = tensor.offset + sum((axis - 1) * step for axis, step in zip(tensor.shape, tensor.stride, strict=True))
    values = math.prod(tensor.shape)
    if values and ((last + 1) * size > place.size or values * size > place.size):
        raise UnreadableFile(f"its tensor {shown(name)} claims more values than the file holds")
    return Entry(dtype=tensor.dtype, shape=tensor.shape, place=place, offset=tensor.offset, stride=tensor.stride)


def shown(name: str) -> str:
    """Return a tensor's name as messages may show it: printable, and at most 100 characters."""
    name = "".join(character if character.isprintable() else "?" for character in name[:101])
    return name if len(name) <= 100 else name[:97] + "…"
