"""A model's name → its file: the catalog of known checkpoints and what lies in the models folder.

Reads ``models/catalog.toml``; opens no checkpoint and loads nothing.
"""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UnknownCheckpoint

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SUFFIXES = (".safetensors", ".ckpt")
DEFAULTS = ("AWPainting_v1.3", "starter")
"""Names tried in this order where no model is named."""

_CATALOG = Path(__file__).resolve().parent.parent.parent / "models" / "catalog.toml"


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """One known checkpoint. What is not known is None."""

    name: str
    file: str
    source: str
    """Where a person gets it."""
    download: str | None = None
    """The URL that gives the file itself, for those that have one."""
    sha256: str | None = None
    unconfirmed_short_hash: str | None = None
    """The first 10 digits of the SHA-256 as somebody claims them."""
    licence: str | None = None
    note: str | None = None


def known_checkpoints() -> tuple[CatalogEntry, ...]:
    """The checkpoints that the project knows, in the order of ``models/catalog.toml``."""
    with _CATALOG.open("rb") as file:
        return tuple(CatalogEntry(**entry) for entry in tomllib.load(file)["checkpoint"])


def installed(folder: Path) -> dict[str, Path]:
    """Name → file for every checkpoint directly in ``folder``; the name is the file's without its suffix.

    Of two files of one name the safetensors one counts.
    """
    return {file.stem: file for file in _files(folder)}


def find(name: str, folder: Path) -> Path:
    """The file of the checkpoint called ``name``, with or without its suffix, in ``folder`` and nowhere else.

    Raises ``UnknownCheckpoint`` with the nearest names that are there.
    """
    names = installed(folder)
    files = {file.name: file for file in _files(folder)} | names
    if name in files:
        return files[name]
    nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or list(names)[:5]
    there = f"one of those in {folder}: {', '.join(nearest)}" if names else f"a file; {folder} holds no checkpoint"
    hint = next((f"; get {known.file} from {known.source}" for known in known_checkpoints() if known.name == name), "")
    raise UnknownCheckpoint("model", name, f"the name or path of a checkpoint, {there}{hint}")


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())
    except OSError:  # no such folder, or none that may be read
        return []


def resolve(name_or_path: str | Path, folder: Path) -> Path:
    """As ``find``, but a path to a file anywhere is taken too."""
    path = Path(name_or_path)
    if path.is_absolute() or len(path.parts) > 1 or path.suffix in SUFFIXES:
        try:
            if path.exists():
                return path
        except (OSError, ValueError):
            pass  # a name too long, or with a NUL, is no file
    return find(str(name_or_path), folder)


def file_of(name_or_path: str | Path | None, folder: Path) -> Path:
    """As ``resolve``; where no model is named, as ``default``."""
    return default(folder) if name_or_path is None else resolve(name_or_path, folder)


def name_of(file: Path, folder: Path) -> str:
    """The shortest of ``file``'s name without and with its suffix, and its whole path, that ``resolve`` finds it by."""
    for name in (file.stem, file.name):
        try:
            if find(name, folder).samefile(file):
                return name
        except (UnknownCheckpoint, OSError):
            continue
    return str(file.absolute())


def default(folder: Path) -> Path:
    """The checkpoint for those who name none: AWPainting v1.3 where it is there, else the starter.

    Raises ``UnknownCheckpoint``, saying where to get one and where to put it.
    """
    files = installed(folder)
    for name in DEFAULTS:
        if name in files:
            return files[name]
    raise UnknownCheckpoint(
        "model",
        "none",
        f"a checkpoint: {how_to_get_the_first(folder)}, or name any Stable Diffusion 1.x checkpoint file",
    )


def how_to_get_the_first(folder: Path) -> str:
    """What a person does to have the checkpoint that the workflow names in ``folder``."""
    wanted = next(known for known in known_checkpoints() if known.name == DEFAULTS[0])
    return f"put {wanted.file} (from {wanted.source}) into {folder}"
