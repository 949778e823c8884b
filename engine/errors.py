"""The tree of what can go wrong.

Every error that a caller can meet is one of these; anything else that escapes is a defect of ours.
Knows nothing of tensors, files or HTTP: the edges (command line, server) map these to exit codes and
status codes once.

    EngineError
    ├── BadRequest              the caller asked for something that is not allowed
    │   ├── UnknownFile         … for a file that is not in the models folders
    │   │   └── UnknownCheckpoint   … for a checkpoint
    │   └── AlreadyThere        … for a name in the models folder that is taken (engine.models)
    ├── BrokenCheckpoint        a file that is not a usable Stable Diffusion 1.x checkpoint
    ├── GenerationFailed        this request could not be computed (NaN latents, a sampler that raised)
    │   └── OutOfMemory         … because the device's memory did not suffice
    ├── DownloadFailed          a URL did not give its file (engine.models)
    ├── Cancelled               the request was cancelled
    └── EngineClosed            the engine was closed before the request was done
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.workflow.node import Node

MOST_SAID = 20
"""The most mistakes that one message says."""

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80


class EngineError(Exception):
    """Anything that went wrong in the engine and that the caller may want to know about."""


def text_of(error: BaseException) -> str:
    """Return what an error of any other kind says, in one line, without the places of files that it names."""
    said = error.strerror if isinstance(error, OSError) and error.filename is not None else str(error)
    return f"{type(error).__name__}: {said}"


class BadRequest(EngineError):
    """A caller's mistake: ``field`` holds ``value``, and only ``allowed`` is accepted there.

    ``node``: the workflow's node whose field it is, where there is one. One error may stand for several mistakes:
    ``all`` lists them, and the error's text says the first ``MOST_SAID`` of them.
    """

    def __init__(self, field: str, value: object, allowed: str, node: Node | None = None) -> None:
        try:
            self.shown = _short.repr(value)
            """The value as the text says it, at most some 80 characters."""
        except ValueError:  # Python does not spell out whole numbers of more than 4300 digits
            self.shown = "a number too long to be shown"
        super().__init__(f"{field}: {self.shown} is not allowed; expected {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed
        self.node = node
        self._others: tuple[BadRequest, ...] = ()

    def __str__(self) -> str:
        said = "; and ".join(each.alone for each in self.all[:MOST_SAID])
        unsaid = len(self.all) - MOST_SAID
        return said if unsaid <= 0 else f"{said}; and {unsaid} more"

    @property
    def alone(self) -> str:
        """The text of this mistake without the others."""
        return super().__str__()

    @property
    def all(self) -> tuple[BadRequest, ...]:
        """This mistake, and those that were found with it."""
        return (self, *self._others)

    def renamed(self, name_of: Callable[[str], str]) -> BadRequest:
        """Return this mistake, and those that were found with it, with what ``name_of`` calls their fields."""
        renamed = [type(each)(name_of(each.field), each.value, each.allowed, each.node) for each in self.all]
        return BadRequest.together(renamed)

    @staticmethod
    def together(mistakes: Sequence[BadRequest]) -> BadRequest:
        """Return the first mistake, which says the others too, and those that were found with them, each once.

        There must be one.
        """
        first, *others = {each.alone: each for mistake in mistakes for each in mistake.all}.values()
        first._others = tuple(others)
        return first


class UnknownFile(BadRequest):
    """No file of the wanted kind has this name in the models folders."""


class UnknownCheckpoint(UnknownFile):
    """The named model is neither a known name nor a file that is there."""


class BrokenCheckpoint(EngineError):
    """``path`` cannot be used as a Stable Diffusion 1.x checkpoint; ``reason`` says what was found or missing.

    ``field``: the parameter, or the place in a graph, that names the file, where it is known; ``node``: the workflow's
    node whose field it is.
    """

    def __init__(self, path: Path | str, reason: str, field: str | None = None, node: Node | None = None) -> None:
        super().__init__(f"{'' if field is None else f'{field}: '}{path}: {reason}")
        self.path = Path(path)
        self.reason = reason
        self.field = field
        self.node = node

    def named_by(self, field: str, node: Node) -> BrokenCheckpoint:
        """Return the error with what names the file."""
        return BrokenCheckpoint(self.path, self.reason, field, node)

    @property
    def without_folder(self) -> BrokenCheckpoint:
        """The error with the file's name alone, for callers who may not see where files lie."""
        return BrokenCheckpoint(self.path.name, self.reason, self.field, self.node)


class GenerationFailed(EngineError):
    """This request alone could not be computed."""


class OutOfMemory(GenerationFailed):
    """The device's memory did not suffice for this request."""


class Cancelled(EngineError):
    """The request was cancelled before it was done."""


class EngineClosed(EngineError):
    """The engine was closed before the request was done."""
