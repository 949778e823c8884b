"""What a pickle may hold, and what it may have made: the few things that are known by name, as values and descriptions.

Knows no opcode, no file and no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.tensors.entries import ITEM_SIZES

_MOST_AXES = 16

_STORAGE_DTYPES: Mapping[str, str] = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}


class PickleError(Exception):
    """The bytes are no pickle that can be read; the message says why."""


@dataclass(frozen=True)
class Global:
    """Something that a pickle names by its module, such as a class."""

    module: str
    name: str


@dataclass(frozen=True)
class Inert:
    """What a pickle would have made by calling ``what``."""

    what: Global | None


@dataclass(frozen=True, kw_only=True)
class Storage:
    """A run of values outside the pickle, by its key."""

    dtype: str
    key: str
    size: int
    """The number of its values."""


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A view of a storage; ``offset`` and ``stride`` count values of ``dtype``."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def entries(pairs: Any) -> dict[str, Any]:
    """Return a dictionary with text for keys: other keys than text and numbers may take for ever to be hashed."""
    return {
        str(key): value for key, value in pairs if isinstance(key, str) or (type(key) is int and abs(key) < 1 << 63)
    }


def storage_of(identity: Any) -> Any:
    """Return the storage that a pickle names by ``identity``, or an ``Inert`` for what is none."""
    match identity:
        case ("storage", Global(name=name), str(key), str(), int(size), *view) if (
            name in _STORAGE_DTYPES and size >= 0 and view in ([], [None])
        ):
            return Storage(dtype=_STORAGE_DTYPES[name], key=key, size=size)
        case ("storage", Global() as kind, *_):
            return Inert(kind)
    return Inert(None)


def _ordered(items: Any = (), *_: Any) -> dict[str, Any]:
    """An OrderedDict, or a defaultdict, whose first argument makes its values."""
    if isinstance(items, dict):
        return dict(items)
    pairs = [item for item in items if isinstance(item, list | tuple) and len(item) == 2]
    return entries(pairs)


def _defaulting(_: Any = None, items: Any = ()) -> dict[str, Any]:
    return _ordered(items)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any, dtype: str | None = None) -> Any:
    numbers = (shape, stride)
    sizes = all(isinstance(axes, tuple | list) and len(axes) <= _MOST_AXES for axes in numbers)
    if not isinstance(storage, Storage) or not sizes or len(shape) != len(stride):
        return Inert(storage.what if isinstance(storage, Inert) else None)
    if any(type(number) is not int or not 0 <= number < 1 << 62 for number in (offset, *shape, *stride)):
        raise PickleError("a tensor has sizes that are no sizes")
    return StoredTensor(
        storage=storage, dtype=dtype or storage.dtype, offset=offset, shape=tuple(shape), stride=tuple(stride)
    )


def _typed_tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Any:
    """A tensor of a type that came after storages had types of their own, such as float8."""
    if not isinstance(dtype, Global) or dtype.module != "torch" or dtype.name not in ITEM_SIZES:
        return Inert(None)
    return _tensor(storage, offset, shape, stride, dtype=dtype.name)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _subclassed(rebuild: Any, _: Any, arguments: Any, *__: Any) -> Any:
    """A tensor with attributes of its own: the plain one that it is made of."""
    if not isinstance(rebuild, Global) or not isinstance(arguments, tuple):
        return Inert(None)
    made = MAKERS.get((rebuild.module, rebuild.name))
    return made(*arguments) if made in (_tensor, _typed_tensor) else Inert(rebuild)


MAKERS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _ordered,
    ("collections", "defaultdict"): _defaulting,
    ("builtins", "dict"): _ordered,
    ("__builtin__", "dict"): _ordered,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed_tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _subclassed,
}
"""All that a pickle may have made, by the module and name under which it asks for it."""
