"""Describes each file in the models folders, and each file of the catalog, and prints that as a table.

Reads names, sizes and remembered hashes; loads no weights and fetches nothing.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UnknownFile
from engine.models.catalog import CatalogEntry, known_files
from engine.models.folders import KINDS, Folders
from engine.models.hashes import HashState, hash_state, recorded_hash, short_hash
from engine.models.layouts import kind_folder
from engine.tensors.kinds import FileKind

_HASH_WORDS: dict[HashState, str] = {
    "matches": "{short}, as the catalog says",
    "differs": "{short} DIFFERS from the catalog's {expected}",
    "matches unconfirmed": "{short}, as a third party says (unconfirmed)",
    "differs from unconfirmed": "{short} differs from {expected}, which a third party says (unconfirmed)",
    "no reference": "{short}, nothing known to compare it with",
    "unchecked": "not checked, run verify",
}


@dataclass(frozen=True, kw_only=True)
class FolderState:
    """One file, known or installed. A field that is not known is None."""

    kind: FileKind
    name: str
    """Its path below the folder for its kind, without suffix."""
    file: str
    path: str | None
    """None for a file that is not installed."""
    size_bytes: int | None
    sha256: str | None
    """As computed from the file, by ``pull``, ``add`` or ``verify``."""
    hash: HashState | None
    """How the hash compares with the catalog's; None for a file that is not installed."""
    known: CatalogEntry | None
    """The catalog's entry for a file of this name."""
    where: str
    """The path, or how to get the file."""


def known_entry(name: str) -> CatalogEntry:
    """Return the catalog's entry called ``name``, or for the file ``name``.

    Raises ``UnknownFile`` with the nearest names.
    """
    known = known_files()
    entry = next((entry for entry in known if name in (entry.name, entry.file)), None)
    if entry is None:
        names = [entry.name for entry in known]
        nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
        raise UnknownFile("name", name, f"a file of the catalog, such as {', '.join(nearest)}")
    return entry


def known_file(path: Path, kind: FileKind | None = None) -> CatalogEntry | None:
    """Return the catalog's entry for a file of this name; with ``kind``, of this kind alone."""
    return next((entry for entry in known_files() if entry.file == path.name and kind in (None, entry.kind)), None)


def by_hand(entry: CatalogEntry, folder: Path) -> str:
    """Return how a person gets this file."""
    return f"get {entry.file} from {entry.source} in a browser and put it into {folder}"


def folder_states(folders: Sequence[Path], kinds: Sequence[FileKind] = KINDS) -> list[FolderState]:
    """Return the state of every file of ``kinds``: of each kind the known ones first, in the catalog's order."""
    found = Folders(folders).by_kind()
    states = []
    for kind in kinds:
        known = [entry for entry in known_files() if entry.kind == kind]
        files = {path.name: path for path in reversed(found[kind].values())}  # of two with one name the first counts
        states += [
            state_of(files[entry.file], kind) if entry.file in files else _missing(entry, folders[0]) for entry in known
        ]
        listed = {state.path for state in states}
        states += [state_of(path, kind, name) for name, path in found[kind].items() if str(path) not in listed]
    return states


def state_of(path: Path, kind: FileKind = "checkpoints", name: str | None = None) -> FolderState:
    """Return what is known about the installed file ``path``, called ``name``, by its name and its recorded hash."""
    return _state(known_file(path, kind), kind, name or path.name, path, recorded_hash(path))


def _missing(entry: CatalogEntry, folder: Path) -> FolderState:
    return _state(entry, entry.kind, entry.file, None, None, by_hand(entry, kind_folder(folder, entry.kind)))


def _state(
    entry: CatalogEntry | None,
    kind: FileKind,
    file: str,
    path: Path | None,
    sha256: str | None,
    how: str | None = None,
) -> FolderState:
    if entry is not None and entry.download is not None:
        how = f"python -m engine.models pull {entry.name}"
    return FolderState(
        kind=kind,
        name=os.path.splitext(file)[0],
        file=file,
        path=None if path is None else str(path),
        size_bytes=None if path is None else path.stat().st_size,
        sha256=sha256,
        hash=None if path is None else hash_state(entry, sha256),
        known=entry,
        where=str(how if path is None else path),
    )


def hash_words(state: FolderState) -> str:
    """Describe the short hash and how it compares with the catalog's."""
    if state.hash is None:
        return "–"
    known = state.known
    expected = known and (short_hash(known.sha256) if known.sha256 else known.unconfirmed_short_hash)
    return _HASH_WORDS[state.hash].format(short=short_hash(state.sha256 or ""), expected=expected)


def table(states: list[FolderState]) -> str:
    """Lay the states out in columns for people to read."""
    rows = [("name", "kind", "size", "hash", "where")]
    rows += [(state.name, state.kind, _size(state.size_bytes), hash_words(state), state.where) for state in states]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join([*map(str.ljust, row[:4], widths), row[4]]) for row in rows)


def _size(size: int | None) -> str:
    if size is None:
        return "missing"
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
