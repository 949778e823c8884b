"""A pickle's bytes → the containers, text, numbers and tensors in it, without running anything.

Python's own unpickler calls what a pickle names. This one interprets the opcodes itself: it rebuilds dictionaries,
lists and torch's tensors, the latter as descriptions, and puts an ``Inert`` wherever a pickle would have had something
called: callbacks, numpy scalars and optimizers, on which no weight depends. ``makers`` has what it makes instead.
Knows no file and no torch.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from engine.tensors.makers import MAKERS, Global, Inert, PickleError, Storage, entries, storage_of

_MOST_OPERATIONS = 3_000_000
"""Ten times what the largest training checkpoints take; a hostile pickle is not to keep us busy."""


@dataclass(frozen=True, kw_only=True)
class Pickled:
    """What a pickle holds."""

    content: Any
    storages: Mapping[str, Storage]
    """All that it names, by key: those of tensors that are kept, and others."""


def read_pickle(file: BinaryIO) -> Pickled:
    """Return what the pickle at ``file``'s position holds, and leave ``file`` behind it.

    Dictionaries have text for keys: whole numbers are written out, and entries with other keys left out. Raises
    ``PickleError`` for what is no pickle, or takes too many operations.
    """
    return _Machine().run(file)


class _Machine:
    """The stack, the marks on it and the memo of one pickle."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._storages: dict[str, Storage] = {}
        self._operations = 0

    def run(self, file: BinaryIO) -> Pickled:
        try:
            for opcode, argument, _ in pickletools.genops(file):
                self._count(1)
                if opcode.name == "STOP":
                    return Pickled(content=self._stack.pop(), storages=self._storages)
                self._step(opcode.name, argument)
        except PickleError:
            raise
        except Exception as error:  # the bytes lead the reader to whatever they like
            raise PickleError(f"{type(error).__name__}: {error}"[:200]) from None
        raise PickleError("it has no end")

    def _count(self, operations: int) -> None:
        self._operations += operations
        if self._operations > _MOST_OPERATIONS:
            raise PickleError(f"it takes more than {_MOST_OPERATIONS:,} operations")

    def _step(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif name not in ("PROTO", "FRAME"):
            _STEPS[name](self, argument)

    def _popped(self) -> list[Any]:
        """Take what lies above the last mark."""
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _tuple(self, size: int) -> None:
        items = tuple(self._stack[len(self._stack) - size :])
        del self._stack[len(self._stack) - size :]
        self._stack.append(items)

    def _add(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(items)

    def _set(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], dict):
            self._stack[-1].update(entries(zip(items[::2], items[1::2], strict=True)))

    def _dict(self, _: Any) -> None:
        items = self._popped()
        self._stack.append(entries(zip(items[::2], items[1::2], strict=True)))

    def _append(self, _: Any) -> None:
        item = self._stack.pop()
        self._add([item])

    def _setitem(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _pop(self, _: Any) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def _frozenset(self, _: Any) -> None:
        self._popped()
        self._stack.append(Inert(None))

    def _global(self, argument: Any) -> None:
        if argument is None:
            name, module = self._stack.pop(), self._stack.pop()
            if not (isinstance(name, str) and isinstance(module, str)):
                raise PickleError("it names something otherwise than by text")
        else:
            module, _, name = argument.partition(" ")
        self._stack.append(Global(module, name))

    def _object(self, _: Any) -> None:
        what, *arguments = self._popped()
        self._stack.append(self._called(what, arguments))

    def _instance(self, argument: str) -> None:
        self._popped()
        self._stack.append(Inert(Global(*argument.split(" ", 1))))

    def _reduce(self, _: Any) -> None:
        arguments, what = self._stack.pop(), self._stack.pop()
        self._stack.append(self._called(what, arguments))

    def _new(self, _: Any) -> None:
        self._stack.pop()
        self._reduce(None)

    def _called(self, what: Any, arguments: Any) -> Any:
        """What a pickle gets for calling ``what``: one of the few things known here, else ``Inert``."""
        if not isinstance(what, Global) or not isinstance(arguments, list | tuple):
            return Inert(None)
        made = MAKERS.get((what.module, what.name))
        if made is None:
            return Inert(what)
        # what is copied counts, however short the pickle that says so
        self._count(len(arguments) + sum(len(each) for each in arguments if isinstance(each, list | tuple | dict)))
        return made(*arguments)

    def _persistent(self, argument: Any) -> None:
        identity = self._stack.pop() if argument is None else argument
        storage = storage_of(identity)
        if isinstance(storage, Storage):
            self._storages[storage.key] = storage
        self._stack.append(storage)


_PUSHED = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}

_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    **dict.fromkeys(("EMPTY_SET", "NEXT_BUFFER", "EXT1", "EXT2", "EXT4"), lambda: Inert(None)),
}

_STEPS: Mapping[str, Callable[[_Machine, Any], object]] = {
    "MARK": _Machine._mark,
    "POP": _Machine._pop,
    "POP_MARK": lambda machine, _: machine._popped(),
    "DUP": lambda machine, _: machine._stack.append(machine._stack[-1]),
    "MEMOIZE": _Machine._memoize,
    "APPEND": _Machine._append,
    "APPENDS": lambda machine, _: machine._add(machine._popped()),
    "LIST": lambda machine, _: machine._stack.append(machine._popped()),
    "TUPLE": lambda machine, _: machine._stack.append(tuple(machine._popped())),
    "TUPLE1": lambda machine, _: machine._tuple(1),
    "TUPLE2": lambda machine, _: machine._tuple(2),
    "TUPLE3": lambda machine, _: machine._tuple(3),
    "SETITEM": _Machine._setitem,
    "SETITEMS": lambda machine, _: machine._set(machine._popped()),
    "DICT": _Machine._dict,
    "ADDITEMS": lambda machine, _: machine._popped(),
    "FROZENSET": _Machine._frozenset,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._global,
    "INST": _Machine._instance,
    "OBJ": _Machine._object,
    "REDUCE": _Machine._reduce,
    "NEWOBJ": _Machine._reduce,
    "NEWOBJ_EX": _Machine._new,
    "BUILD": lambda machine, _: machine._stack.pop(),
    "PERSID": _Machine._persistent,
    "BINPERSID": _Machine._persistent,
    "READONLY_BUFFER": lambda machine, _: None,
}
"""What each operation does, beside those that push a value or name the memo."""
