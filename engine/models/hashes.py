"""A checkpoint's SHA-256: computed, remembered beside the file, and compared with what the catalog says of it.

Opens no checkpoint as such and knows nothing of where files come from.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from engine.models.catalog import CatalogEntry

Progress = Callable[[int, int | None], None]
"""Called with the bytes done so far and the bytes in all, None where that is not known."""

HashState = Literal[
    "matches", "differs", "matches unconfirmed", "differs from unconfirmed", "no reference", "unchecked"
]
"""What is known of a file's hash: compared with the catalog's SHA-256, else with the short hash that a person
claims; ``no reference`` where neither is known, ``unchecked`` where the file was not hashed since it changed."""

_RECORD = ".hashes.json"
_CHUNK = 1 << 20


def silent(done: int, total: int | None) -> None:
    """Report progress to no one."""


def sha256_of(path: Path, progress: Progress = silent) -> str:
    """Return the file's SHA-256 in hexadecimal, read from the disk. Raises ``OSError``."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        total = os.fstat(file.fileno()).st_size
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(done, total)
    return digest.hexdigest()


def short_hash(sha256: str) -> str:
    """Return the first 10 hexadecimal digits, by which AUTOMATIC1111's tools know a checkpoint."""
    return sha256[:10]


def adapter_hash(path: Path) -> str:
    """Return the 12 hexadecimal digits by which AUTOMATIC1111's tools know a LoRA.

    They begin the SHA-256 of a safetensors file without its header, or of the whole of another file.
    Raises ``OSError``.
    """
    status = path.stat()
    return _adapter_hash(path, status.st_mtime_ns, status.st_size)


def embedding_hash(path: Path) -> str:
    """Return the first 12 hexadecimal digits of the SHA-256, by which AUTOMATIC1111's tools know an embedding.

    Raises ``OSError``.
    """
    return whole_hash(path)[:12]


def whole_hash(path: Path) -> str:
    """Return the file's SHA-256: the recorded one, else computed once for as long as the file is as it is. Raises
    ``OSError``."""
    status = path.stat()
    return recorded_hash(path) or _whole_hash(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1024)
def _whole_hash(path: Path, changed: int, size: int) -> str:
    return sha256_of(path)


@functools.lru_cache(maxsize=1024)
def _adapter_hash(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        if path.suffix.lower() == ".safetensors":
            file.seek(8 + int.from_bytes(file.read(8), "little"))
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()[:12]


def verified_hash(path: Path, progress: Progress = silent) -> str:
    """As ``sha256_of``, and remembered for ``recorded_hash``."""
    before = _stamp(path)
    digest = sha256_of(path, progress)
    if _stamp(path) == before:
        remember(path, digest)
    return digest


def remember(path: Path, sha256: str) -> None:
    """Note the hash of the file as it is now. A folder that is only to be read has no record.

    What two processes note at once may be lost, and is then computed again.
    """
    folder = path.parent
    kept = {name: value for name, value in _read(folder).items() if (folder / name).exists()}
    temporary = folder / f".{secrets.token_hex(8)}.part"
    with contextlib.suppress(OSError):
        try:
            temporary.write_text(json.dumps(kept | {path.name: [*_stamp(path), sha256]}, indent=1))
            os.replace(temporary, folder / _RECORD)
        finally:
            temporary.unlink(missing_ok=True)


def recorded_hash(path: Path) -> str | None:
    """Return the SHA-256 remembered for this file, unless its size or its time have changed since."""
    entry = _read(path.parent).get(path.name)
    if not isinstance(entry, list) or entry[:-1] != _stamp(path):
        return None
    return str(entry[-1])


def hash_state(entry: CatalogEntry | None, sha256: str | None) -> HashState:
    """Return what ``sha256`` (None: not computed) means for a file that claims to be ``entry`` (None: not in the
    catalog)."""
    if sha256 is None:
        return "unchecked"
    if entry is not None and entry.sha256 is not None:
        return "matches" if sha256 == entry.sha256 else "differs"
    if entry is not None and entry.unconfirmed_short_hash is not None:
        same = short_hash(sha256) == entry.unconfirmed_short_hash
        return "matches unconfirmed" if same else "differs from unconfirmed"
    return "no reference"


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _read(folder: Path) -> dict[str, object]:
    try:
        record = json.loads((folder / _RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
