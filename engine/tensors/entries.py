"""The tensors of a file as descriptions: name, type, shape, and where their values lie. Knows no format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ITEM_SIZES: Mapping[str, int] = {
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 8),
    **dict.fromkeys(("float32", "int32", "uint32"), 4),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 2),
    **dict.fromkeys(("float8_e4m3fn", "float8_e5m2", "int8", "uint8", "bool"), 1),
    "complex128": 16,
}
"""Bytes of one value, by torch's name of its type."""


class UnreadableFile(Exception):
    """The file holds no tensors that can be read; the message says what was found or missing."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the values of one or several tensors lie."""

    start: int
    """The first byte in the file."""
    size: int
    """In bytes, once unpacked."""
    member: str = ""
    """The archive's member that has to be unpacked first; ``start`` counts in it then."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One tensor."""

    dtype: str
    """The name that torch has for the type, or that the file has where torch has no such type."""
    shape: tuple[int, ...]
    place: Place
    offset: int = 0
    """Values of ``place`` before its first."""
    stride: tuple[int, ...] | None = None
    """In values; None for a tensor whose values lie one behind the other."""


@dataclass(frozen=True, kw_only=True)
class TensorFile:
    """What a file holds."""

    entries: Mapping[str, Entry]
    """Name → tensor, in the file's order."""
    nested: str = ""
    """The key of what was saved under which the tensors lie: ``state_dict``, ``string_to_param``; ``[]`` for a list of
    dictionaries, whose tensors' names begin with the dictionary's number and a full stop."""
    strange: Mapping[str, str]
    """Name → what stands in the place of a tensor that cannot be read."""
    metadata: Mapping[str, str]
    """What a safetensors file says of itself."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        return {name: entry.shape for name, entry in self.entries.items()}
