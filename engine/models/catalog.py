"""Finds a checkpoint's file by its name in the models folders, and reads the catalog of known files of every kind.

Reads ``models/catalog.toml``; opens no checkpoint and loads nothing. Functions that take ``folders`` search them in
order: of two checkpoints with one name, the one in the earlier folder counts.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from engine.errors import UnknownCheckpoint
from engine.folders import SHIPPED_MODELS
from engine.models.folders import Folders
from engine.models.layouts import SUFFIXES
from engine.tensors.kinds import FileKind

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULTS = ("AWPainting_v1.3", "starter")
"""Names tried in this order for a request that names no model."""


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """One known file. A field that is not known is None."""

    kind: FileKind
    name: str
    file: str
    source: str
    """The page where a person gets it."""
    download: str | None = None
    """The URL of the file itself."""
    sha256: str | None = None
    unconfirmed_short_hash: str | None = None
    """The first 10 digits of the SHA-256 according to one third party."""
    licence: str | None = None
    note: str | None = None


def known_files() -> tuple[CatalogEntry, ...]:
    """Return the files in ``models/catalog.toml``, in its order."""
    with (SHIPPED_MODELS / "catalog.toml").open("rb") as file:
        tables = cast("dict[FileKind, list[dict[str, str]]]", tomllib.load(file))
    return tuple(CatalogEntry(kind=kind, **entry) for kind, entries in tables.items() for entry in entries)


def known_checkpoints() -> tuple[CatalogEntry, ...]:
    """Return the checkpoints among ``known_files``."""
    return tuple(entry for entry in known_files() if entry.kind == "checkpoints")


def installed(folders: Sequence[Path]) -> dict[str, Path]:
    """Return name → file for every checkpoint in ``folders``; a name is a file's without its suffix, below its folder.

    Of two files with one name, that in the earlier folder counts, and in one folder the safetensors file.
    """
    found: dict[str, Path] = {}
    for name, path in Folders(folders).files("checkpoints").items():
        found.setdefault(name.removesuffix(path.suffix), path)
    return found


def find(name: str, folders: Sequence[Path]) -> Path:
    """Return the file of the checkpoint called ``name`` in ``folders`` and nowhere else: see ``Folders.find``.

    Raises ``UnknownCheckpoint`` with the nearest names that are there.
    """
    try:
        return Folders(folders).find("checkpoints", name, field="model")
    except UnknownCheckpoint as error:
        known = next((known for known in known_checkpoints() if known.name == name), None)
        hint = f"; get {known.file} from {known.source}" if known is not None else ""
        raise UnknownCheckpoint("model", name, f"a path, or {error.allowed}{hint}") from None


def resolve(name_or_path: str | Path, folders: Sequence[Path]) -> Path:
    """Return the same file as ``find``; takes the path of any file as well."""
    path = Path(name_or_path)
    if path.is_absolute() or len(path.parts) > 1 or path.suffix in SUFFIXES:
        try:
            if path.exists():
                return path
        except (OSError, ValueError):
            pass  # a name that is too long, or has a NUL in it, is no file
    return find(str(name_or_path), folders)


def file_of(name_or_path: str | Path | None, folders: Sequence[Path]) -> Path:
    """Return the same file as ``resolve``, or as ``default`` for None."""
    return default(folders) if name_or_path is None else resolve(name_or_path, folders)


def name_of(file: Path, folders: Sequence[Path]) -> str:
    """Return the shortest text that ``resolve`` finds ``file`` by: a name, with suffix or subfolder if need be, or its
    path."""
    for name in _names_of(file, folders):
        found = Folders(folders).get("checkpoints", name)
        with contextlib.suppress(OSError):  # one of them was removed just now
            if found is not None and found.samefile(file):
                return name
    return str(file.absolute())


def _names_of(file: Path, folders: Sequence[Path]) -> Iterator[str]:
    yield from (file.stem, file.name)
    below = (name for name, path in Folders(folders).files("checkpoints").items() if path == file)
    yield from (name for whole in below for name in (whole.removesuffix(file.suffix), whole))


def default(folders: Sequence[Path]) -> Path:
    """Return the checkpoint for requests that name none: AWPainting v1.3 where it is installed, else the starter.

    Raises ``UnknownCheckpoint``, which says where to get one and where to put it.
    """
    for name in DEFAULTS:
        found = Folders(folders).get("checkpoints", name)
        if found is not None:
            return found
    raise UnknownCheckpoint(
        "model",
        "none",
        f"a checkpoint: {how_to_get_the_first(folders)}, or name any Stable Diffusion 1.x checkpoint file",
    )


def how_to_get_the_first(folders: Sequence[Path]) -> str:
    """Return what a person does to install AWPainting v1.3, the first of ``DEFAULTS``."""
    wanted = next(known for known in known_checkpoints() if known.name == DEFAULTS[0])
    return f"put {wanted.file} (from {wanted.source}) into {folders[0]}"
