"""What earlier processes found out about a network on this machine, in a file: hints, never facts.

A hint is checked before it is used, so that a wrong one costs time and nothing else. Knows no network.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

_log = logging.getLogger(__name__)

_MOST_PIECES = 20_000
_MOST_SHAPES = 16
_MOST_CELLS = 2048
_MOST_TOKENS = 77 * 64
_SECONDS_BETWEEN_WRITES = 60.0

Shape: TypeAlias = tuple[int, int, int, int, int]
"""Of a UNet call: rows, latents (as many, or half as many), their height and width, tokens of the conditioning."""


def hints_file(folder: Path, facts: Mapping[str, Any]) -> Path:
    """The file in ``folder`` for what ``facts`` and this package's code make of a network. Facts are JSON's values."""
    code = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        code.update(file.read_bytes())
    text = json.dumps([dict(facts), code.hexdigest()], sort_keys=True)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"


class Hints:
    """The hints in ``file``, and what is found out beside them. The device's thread notes; any thread may save.

    A file that is damaged, or not for this network, is as good as none. None of the methods raises for want of a disk.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._pieces, shapes = _read(file) if file is not None else ({}, [])
        self._shapes: OrderedDict[Shape, None] = OrderedDict.fromkeys(shapes)
        self._changed = False
        self._written = time.monotonic()
        self._writing = threading.Lock()

    def piece(self, case: Sequence[Any]) -> int | None:
        """How many rows the operation ``case`` may be given at a time, if anybody found out."""
        return self._pieces.get(json.dumps(case))

    def note_piece(self, case: Sequence[Any], size: int) -> None:
        """That the operation ``case`` may be given ``size`` rows at a time. Its parts are JSON's values."""
        name = json.dumps(case)
        if self._pieces.get(name) != size:
            if len(self._pieces) >= _MOST_PIECES:
                self._pieces.clear()
            self._pieces[name] = size
            self._changed = True

    @property
    def shapes(self) -> list[Shape]:
        """The UNet calls that were made, the latest first."""
        return list(reversed(self._shapes))

    def note_shape(self, shape: Shape) -> None:
        """That such a UNet call was made."""
        if shape not in self._shapes:
            self._changed = True
        self._shapes[shape] = None
        self._shapes.move_to_end(shape)
        if len(self._shapes) > _MOST_SHAPES:
            self._shapes.popitem(last=False)

    def save_when_due(self) -> None:
        """Save if something was noted and the last time is a minute ago."""
        now = time.monotonic()
        if self._changed and now >= self._written + _SECONDS_BETWEEN_WRITES:
            self._written = now
            self.save_aside()

    def save_aside(self) -> None:
        """Save on a thread of its own, so that no request waits for the disk."""
        if self._file is None or not self._changed:
            return
        if threading.main_thread().is_alive():
            threading.Thread(target=self.save, name="hints").start()
        else:  # the program ends, and waits for no more threads
            self.save()

    def save(self) -> None:
        """Write what was noted, beside what others have written since."""
        with self._writing:
            if self._file is None or not self._changed:
                return
            self._changed = False
            try:
                pieces, shapes = _read(self._file)
                shapes = [shape for shape in shapes if shape not in self._shapes] + list(self._shapes)
                _write(self._file, pieces | dict(self._pieces), shapes)
            except Exception as error:
                _log.warning("no hints are kept for later: %s", error)
                self._file = None


def _read(file: Path) -> tuple[dict[str, int], list[Shape]]:
    try:
        kept = json.loads(file.read_bytes())
        if kept["key"] != file.stem:
            raise ValueError("it is for something else")
        pieces = {json.dumps(case): _number(size) for *case, size in kept["pieces"]}
        shapes = [_shape(*shape) for shape in kept["shapes"]]
    except FileNotFoundError:
        return {}, []
    except Exception as error:
        _log.warning("the hints in %s are ignored: %s: %s", file, type(error).__name__, error)
        return {}, []
    return dict(list(pieces.items())[-_MOST_PIECES:]), shapes[-_MOST_SHAPES:]


def _shape(rows: Any, latents: Any, height: Any, width: Any, tokens: Any) -> Shape:
    return (
        _number(rows),
        _number(latents),
        _number(height, most=_MOST_CELLS),
        _number(width, most=_MOST_CELLS),
        _number(tokens, most=_MOST_TOKENS),
    )


def _number(value: Any, *, most: int = 1 << 20) -> int:
    if type(value) is not int or not 0 < value <= most:
        raise ValueError(f"{value!r} is not a whole number from 1 to {most}")
    return value


def _write(file: Path, pieces: Mapping[str, int], shapes: Sequence[Shape]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = {
        "key": file.stem,
        "pieces": [[*json.loads(case), size] for case, size in list(pieces.items())[-_MOST_PIECES:]],
        "shapes": shapes[-_MOST_SHAPES:],
    }
    descriptor, name = tempfile.mkstemp(prefix=f".{file.stem[:8]}.", suffix=".part", dir=file.parent)
    try:
        with open(descriptor, "w") as part:
            json.dump(kept, part)
            part.flush()
            os.fsync(part.fileno())
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
