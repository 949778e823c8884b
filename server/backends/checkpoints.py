"""Shows callers the files in the models folders: names, never paths. Loads nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UnknownFile
from engine.models import catalog
from engine.models.folders import Folders, content_of
from engine.models.hashes import recorded_hash, short_hash
from engine.tensors.kinds import FileKind

_LOOK_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A checkpoint that requests may name."""

    name: str
    file: str
    """Its file's path below the folder for checkpoints, with ``/``."""
    path: str
    size: int
    """Bytes."""
    short_hash: str | None
    """The first 10 digits of its SHA-256, where that is known without reading the file."""
    sha256: str | None
    resident: bool
    loading: bool
    default: bool


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """A file that workflows may name."""

    name: str
    """Its path below the folder for its kind, with ``/``."""
    size: int
    """Bytes."""
    alias: str = ""
    """The name that a LoRA has in its metadata."""


class Checkpoints:
    """The checkpoints that requests may name: those in the folders, and the default one, wherever it is."""

    def __init__(self, folders: Sequence[Path], default: str | Path | None) -> None:
        """Raises ``UnknownCheckpoint`` for a default that does not exist."""
        self._folders = folders
        self.default = catalog.file_of(default, folders)
        name = catalog.name_of(self.default, folders)
        self.default_name = self.default.name if name == str(self.default.absolute()) else name
        """Like any other checkpoint's name; the file's name for one outside the folders, whose path stays private."""
        self._seen: tuple[float, list[ModelInfo]] | None = None
        self._files_seen: tuple[float, dict[FileKind, list[FileInfo]]] | None = None

    def file_of(self, name: str | None) -> Path:
        """Return the file of a checkpoint by name. Raises ``UnknownCheckpoint`` for other text, paths included."""
        if name in (None, self.default_name):
            return self.default
        try:
            return catalog.find(str(name), self._folders)
        except UnknownFile as error:
            raise without_paths(error, self._folders) from None

    def name_of(self, name: str | None) -> str:
        """Return the name that answers use for the checkpoint ``name``. Raises ``UnknownCheckpoint``."""
        path = self.file_of(name)
        return self.default_name if path == self.default else catalog.name_of(path, self._folders)

    def refresh(self) -> None:
        """Let the next call read the folders again."""
        self._seen = self._files_seen = None

    def models(self) -> list[ModelInfo]:
        """List the checkpoints, the default first. The folders are read again after ``_LOOK_AGAIN_SECONDS``."""
        now = time.monotonic()
        if self._seen is None or now - self._seen[0] > _LOOK_AGAIN_SECONDS:
            self._seen = (now, self._look())
        return self._seen[1]

    def files(self, kind: FileKind) -> list[FileInfo]:
        """List the files of ``kind``, sorted by name. The folders are read again after ``_LOOK_AGAIN_SECONDS``."""
        now = time.monotonic()
        if self._files_seen is None or now - self._files_seen[0] > _LOOK_AGAIN_SECONDS:
            found = Folders(self._folders).by_kind()
            self._files_seen = (now, {each: _infos(files) for each, files in found.items()})
        return self._files_seen[1][kind]

    def _look(self) -> list[ModelInfo]:
        found = {path: name for name, path in Folders(self._folders).files("checkpoints").items()}
        files = {self.default: self.default.name} | found
        infos = []
        for path, name in files.items():
            try:
                infos.append(self._info(path, name))
            except OSError:  # it was removed just now
                continue
        return infos

    def _info(self, path: Path, file: str) -> ModelInfo:
        sha256 = recorded_hash(path)
        return ModelInfo(
            name=self.default_name if path == self.default else catalog.name_of(path, self._folders),
            file=file,
            path=str(path),
            size=path.stat().st_size,
            short_hash=None if sha256 is None else short_hash(sha256),
            sha256=sha256,
            resident=False,
            loading=False,
            default=path == self.default,
        )


def without_paths(error: UnknownFile, folders: Sequence[Path]) -> UnknownFile:
    """Return ``error`` as callers may see it: with names, and not with the places of the models ``folders``."""
    allowed = error.allowed.removeprefix("a path, or ")
    for folder in sorted(map(str, folders), key=len, reverse=True):
        allowed = allowed.replace(folder, "the models folder")
    return type(error)(error.field, error.value, allowed, error.node)


def _infos(files: Mapping[str, Path]) -> list[FileInfo]:
    sizes = [(name, path, _size(path)) for name, path in sorted(files.items())]
    return [
        FileInfo(name=name, size=size, alias=content_of(path).alias) for name, path, size in sizes if size is not None
    ]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # it was removed just now
        return None
