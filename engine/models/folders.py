"""Finds files of every kind by name in the models folders, however those are laid out.

A models folder may be flat, or have a folder for each kind, as ComfyUI and AUTOMATIC1111 call them. What kind a file
is, is found in its tensors; where it lies decides only for a file that cannot be read. Loads no weights, needs no
torch.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from engine.errors import UnknownCheckpoint, UnknownFile
from engine.models.layouts import SUFFIXES, Place, kind_folders, order_of, places
from engine.tensors.entries import UnreadableFile
from engine.tensors.header import read_tensor_file
from engine.tensors.kinds import Content, FileKind, content_by_shapes
from engine.workflow.node import Node

KINDS: tuple[FileKind, ...] = get_args(FileKind)

WORDS: Mapping[FileKind, str] = {
    "checkpoints": "checkpoint",
    "loras": "LoRA",
    "vae": "VAE",
    "controlnet": "ControlNet or T2I-adapter",
    "embeddings": "embedding",
    "upscale_models": "upscale model",
}
"""What one file of a kind is called."""

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file in a models folder."""

    name: str
    """Its path below its kind's folder, or below the models folder, with ``/`` and with its suffix."""
    path: Path
    kind: FileKind | None
    words: str
    """What it is: ``a LoRA``; "" where its content does not say."""


class Folders:
    """The models folders, in the order in which they are searched. Looks at the disk anew at each call."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)

    def names(self, kind: FileKind) -> list[str]:
        """Return the names of all files of ``kind``, sorted, as ComfyUI shows them: ``style/ink.safetensors``."""
        return sorted(self.files(kind))

    def files(self, kind: FileKind) -> dict[str, Path]:
        """Return name → file of all files of ``kind``; of two with one name, that in the earlier folder."""
        return self.by_kind()[kind]

    def by_kind(self) -> dict[FileKind, dict[str, Path]]:
        """Return kind → what ``files`` returns, of all kinds at one look at the disk."""
        found: dict[FileKind, dict[str, Path]] = {kind: {} for kind in KINDS}
        for folder in self._folders:
            for file in map(_found, places(folder)):
                if file.kind is not None:
                    found[file.kind].setdefault(file.name, file.path)
        return found

    def find(self, kind: FileKind, name: str, *, field: str = "name", node: Node | None = None) -> Path:
        """Return the file of ``kind`` called ``name``, in the models folders and nowhere else.

        ``name`` may have a subfolder, with ``/`` or ``\\``, and a suffix, or go without. A file that lies just there
        counts first, then the only one with that name in any subfolder, then the only LoRA that has it as its alias.

        Raises ``UnknownFile`` (``UnknownCheckpoint`` for a checkpoint) on ``field`` of ``node``, which lists the
        nearest names that are there, and says what a file of this name is if it is of another kind.
        """
        found = self.get(kind, name)
        if found is not None:
            return found
        error = UnknownCheckpoint if kind == "checkpoints" else UnknownFile
        raise error(field, name, self._allowed(kind, _parts(name)), node)

    def get(self, kind: FileKind, name: str) -> Path | None:
        """Return what ``find`` returns; None where it raises."""
        parts = _parts(name)
        if not parts:
            return None
        direct = self._direct(kind, parts)
        if direct is not None:
            return direct
        by_end = self._by_last_part(kind, parts[-1]) or self._by_alias(kind, name)
        return by_end[0].path if len(by_end) == 1 else None

    def _direct(self, kind: FileKind, parts: tuple[str, ...]) -> Path | None:
        """The file of ``kind`` that lies at ``parts`` below a folder for its kind, or below a models folder."""
        for root in self._roots(kind):
            path = root.joinpath(*parts)
            for candidate in (path, *(path.with_name(path.name + suffix) for suffix in SUFFIXES)):
                if candidate.suffix.lower() in SUFFIXES and _is_file(candidate):
                    content = content_of(candidate)
                    if content.kind == kind or not content.words:
                        return candidate
        return None

    def _by_last_part(self, kind: FileKind, last: str) -> list[Found]:
        """The files of ``kind`` called ``last``, with or without suffix, in whatever subfolder of the first folder."""
        for folder in self._folders:
            called = [place for place in places(folder) if _is_called(place.path, last)]
            found = [file for file in map(_found, called) if file.kind == kind]
            best = min((order_of(file.path.name) for file in found), default=None)
            if best is not None:
                return [file for file in found if order_of(file.path.name) == best]
        return []

    def _by_alias(self, kind: FileKind, name: str) -> list[Found]:
        """The LoRAs that are called ``name`` in their metadata, in the first folder that has any."""
        if kind != "loras":
            return []
        for folder in self._folders:
            found = [file for file in map(_found, places(folder)) if content_of(file.path).alias == name]
            if found:
                return found
        return []

    def _roots(self, kind: FileKind) -> Iterator[Path]:
        for folder in self._folders:
            yield from (root for root, holds in kind_folders(folder) if holds == kind)
            yield folder

    def _allowed(self, kind: FileKind, parts: tuple[str, ...]) -> str:
        """What is said of a name that is not there."""
        there, word = self.names(kind), WORDS[kind]
        where = _listed(self._folders)
        last = parts[-1] if parts else ""
        names = [*there, *(os.path.splitext(name)[0] for name in there)]
        near = difflib.get_close_matches(last[:200], names, n=3, cutoff=0.4) or there[:_SHOWN]
        shown = f"one of those in {where}: {', '.join(near)}" if there else f"a file; there is none in {where}"
        several = self._by_last_part(kind, last) if last else {}
        if len(several) > 1:
            return f"the name of one {word}, with its subfolder: {', '.join(sorted(file.name for file in several))}"
        called = (place for folder in self._folders for place in places(folder) if _is_called(place.path, last))
        other = next((file for file in map(_found, called) if file.words and file.kind != kind), None)
        hint = f"; {other.name} is there, but it is {other.words}" if other is not None else ""
        return f"the name of a {word}, {shown}{hint}"


def content_of(path: Path) -> Content:
    """Return what the file in ``path`` is, found in its tensors; read again only when the file has changed."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return _UNKNOWN
    stamp = (status.st_mtime_ns, status.st_size)
    known = _contents.get(str(path))
    if known is not None and known[0] == stamp:
        return known[1]
    try:
        file = read_tensor_file(path)
        content = content_by_shapes(file.shapes, file.nested)
        if content.kind == "loras":
            content = dataclasses.replace(content, alias=file.metadata.get(_ALIAS, ""))
    except (UnreadableFile, OSError):
        content = _UNKNOWN
    _contents[str(path)] = (stamp, content)
    return content


_ALIAS = "ss_output_name"
_UNKNOWN = Content(kind=None, words="")
_contents: dict[str, tuple[tuple[int, int], Content]] = {}


def _found(place: Place) -> Found:
    content = content_of(place.path)
    kind = content.kind if content.words else place.holds
    return Found(name=place.path.relative_to(place.root).as_posix(), path=place.path, kind=kind, words=content.words)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL in it, is no file
        return False


def _is_called(path: Path, name: str) -> bool:
    return name in (path.name, path.stem)


def _parts(name: str) -> tuple[str, ...]:
    """The parts of a name; none for a name that would lead out of the folders."""
    parts = tuple(name.replace("\\", "/").split("/"))
    leads_out = any(part in ("", ".", "..") or "\0" in part or ":" in part for part in parts)
    return () if leads_out else parts


def _listed(folders: Sequence[Path]) -> str:
    """The folders in words; says which do not exist, since a mistyped one holds nothing."""
    return " and ".join(str(folder) if folder.is_dir() else f"{folder} (no such folder)" for folder in folders)
