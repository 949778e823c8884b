"""Finds a model's file by its name: the catalog of known checkpoints, and what lies in the models folders.

Reads ``models/catalog.toml``; opens no checkpoint and loads nothing. Functions that take ``folders`` search them in
order: of two checkpoints with one name, the one in the earlier folder counts.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UnknownCheckpoint
from engine.folders import SHIPPED_MODELS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SUFFIXES = (".safetensors", ".ckpt")
DEFAULTS = ("AWPainting_v1.3", "starter")
"""Names tried in this order for a request that names no model."""


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """One known checkpoint. A field that is not known is None."""

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


def known_checkpoints() -> tuple[CatalogEntry, ...]:
    """Return the checkpoints in ``models/catalog.toml``, in its order."""
    with (SHIPPED_MODELS / "catalog.toml").open("rb") as file:
        return tuple(CatalogEntry(**entry) for entry in tomllib.load(file)["checkpoint"])


def installed(folders: Sequence[Path]) -> dict[str, Path]:
    """Return name → file for every checkpoint directly in ``folders``; a name is a file's without its suffix.

    Of two files with one name in one folder, the safetensors file counts.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        found |= {file.stem: file for file in _files(folder) if file.stem not in found}
    return found


def find(name: str, folders: Sequence[Path]) -> Path:
    """Return the file of the checkpoint called ``name``, with or without its suffix, in ``folders`` and nowhere else.

    Raises ``UnknownCheckpoint`` with the nearest names that are there.
    """
    names = installed(folders)
    files = {file.name: file for folder in reversed(folders) for file in _files(folder)} | names
    if name in files:
        return files[name]
    nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or list(names)[:5]
    where = _listed(folders)
    there = f"one of those in {where}: {', '.join(nearest)}" if names else f"a file; there is no checkpoint in {where}"
    hint = next((f"; get {known.file} from {known.source}" for known in known_checkpoints() if known.name == name), "")
    raise UnknownCheckpoint("model", name, f"the name or path of a checkpoint, {there}{hint}")


def _listed(folders: Sequence[Path]) -> str:
    """The folders in words; says which do not exist, since a mistyped one holds nothing."""
    return " and ".join(str(folder) if folder.is_dir() else f"{folder} (no such folder)" for folder in folders)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())
    except OSError:  # no such folder, or no permission to read it
        return []


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
    """Return the shortest text that ``resolve`` finds ``file`` by: its name without suffix, with it, or its path."""
    for name in (file.stem, file.name):
        try:
            if find(name, folders).samefile(file):
                return name
        except (UnknownCheckpoint, OSError):
            continue
    return str(file.absolute())


def default(folders: Sequence[Path]) -> Path:
    """Return the checkpoint for requests that name none: AWPainting v1.3 where it is installed, else the starter.

    Raises ``UnknownCheckpoint``, which says where to get one and where to put it.
    """
    files = installed(folders)
    for name in DEFAULTS:
        if name in files:
            return files[name]
    raise UnknownCheckpoint(
        "model",
        "none",
        f"a checkpoint: {how_to_get_the_first(folders)}, or name any Stable Diffusion 1.x checkpoint file",
    )


def how_to_get_the_first(folders: Sequence[Path]) -> str:
    """Return what a person does to install AWPainting v1.3, the first of ``DEFAULTS``."""
    wanted = next(known for known in known_checkpoints() if known.name == DEFAULTS[0])
    return f"put {wanted.file} (from {wanted.source}) into {folders[0]}"
