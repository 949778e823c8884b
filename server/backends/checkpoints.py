"""The models folder as callers see it: names, never paths. Opens no checkpoint and loads nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from engine.models import catalog
from engine.models.hashes import recorded_hash, short_hash

_LOOK_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A checkpoint that requests may name."""

    name: str
    file: str
    """Its file name in the models folder."""
    path: str
    size: int
    """Bytes."""
    short_hash: str | None
    """The first 10 digits of its SHA-256, where that is known without reading the file."""
    sha256: str | None
    resident: bool
    loading: bool
    default: bool


class Shelf:
    """What requests may name: what lies in the folder, and the default checkpoint, wherever that is."""

    def __init__(self, folder: Path, default: str | Path | None) -> None:
        """Raises ``UnknownCheckpoint`` where the default is not there."""
        self._folder = folder
        self.default = catalog.file_of(default, folder)
        name = catalog.name_of(self.default, folder)
        self.default_name = self.default.name if name == str(self.default.absolute()) else name
        """In the folder as any other; elsewhere its file's name: where that is, nobody needs to know."""
        self._seen: tuple[float, list[ModelInfo]] | None = None

    def file_of(self, name: str | None) -> Path:
        """Raises ``UnknownCheckpoint`` for what is no name of a checkpoint there; a path is none."""
        return self.default if name in (None, self.default_name) else catalog.find(str(name), self._folder)

    def name_of(self, name: str | None) -> str:
        """The name by which a checkpoint is told, for one that is asked for. Raises ``UnknownCheckpoint``."""
        path = self.file_of(name)
        return self.default_name if path == self.default else catalog.name_of(path, self._folder)

    def models(self) -> list[ModelInfo]:
        """The default first; as the folder was lately."""
        now = time.monotonic()
        if self._seen is None or now - self._seen[0] > _LOOK_AGAIN_SECONDS:
            self._seen = (now, self._look())
        return self._seen[1]

    def _look(self) -> list[ModelInfo]:
        files = [self.default, *(path for path in catalog.installed(self._folder).values() if path != self.default)]
        infos = []
        for path in files:
            try:
                infos.append(self._info(path))
            except OSError:  # it was removed just now
                continue
        return infos

    def _info(self, path: Path) -> ModelInfo:
        sha256 = recorded_hash(path)
        return ModelInfo(
            name=self.default_name if path == self.default else catalog.name_of(path, self._folder),
            file=path.name,
            path=str(path),
            size=path.stat().st_size,
            short_hash=None if sha256 is None else short_hash(sha256),
            sha256=sha256,
            resident=False,
            loading=False,
            default=path == self.default,
        )
