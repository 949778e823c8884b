"""A URL or a file → a whole, checked checkpoint in the models folder: tries again, resumes, and refuses what is none.

Knows nothing of the catalog and of who watches; the exchange is ``web``'s, the file ``incoming``'s.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path
from typing import TypeVar

from engine.errors import BadRequest, BrokenCheckpoint
from engine.models.hashes import Progress, sha256_of, silent
from engine.models.incoming import Note, Origin, Part, part_of, safe_name, what_else
from engine.models.web import (
    Cut,
    DownloadFailed,
    RangeRefused,
    checked_url,
    name_in_headers,
    name_in_url,
    open_url,
    read_some,
    validator_of,
)

_CHUNK = 1 << 18
_HEAD = 512
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How much of a bad line is borne."""

    timeout: float = 30.0
    """Seconds of silence before a connection counts as cut."""
    tries: int = 6
    """Tries in a row that bring the file no further."""
    pause: float = 1.0
    """Seconds before the second of them; doubled with each."""
    longest_pause: float = 30.0
    """Seconds that are waited at most, whatever the server asks for."""


def _unheard(line: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Source:
    """A URL and how to fetch it. Raises ``BadRequest`` for a URL that ``checked_url`` refuses."""

    url: str
    sha256: str | None = None
    """What the file's SHA-256 must be, where that is known."""
    token: str | None = field(default=None, repr=False)
    """Sent as a bearer token to the URL's own scheme, host and port alone."""
    patience: Patience = Patience()
    progress: Progress = silent
    note: Note = _unheard

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", checked_url(self.url, self.token))


def download(source: Source, target: Path) -> str:
    """Fetch the checkpoint ``source`` to ``target``, which appears whole and checked or not at all; its SHA-256.

    What came of a download that was cut is kept beside it, and the next call goes on from there. Raises
    ``AlreadyThere``, ``BadRequest`` on ``models``, and ``DownloadFailed``; and ``OSError`` for a disk's troubles.
    """
    with part_of(target, source.note) as part:
        digest = _fetched(part, source)
        try:
            part.check()
        except BrokenCheckpoint as error:
            part.discard()
            raise DownloadFailed(source.url, error.reason) from None
        part.install()
    return digest


def copy(path: Path, target: Path, *, sha256: str | None = None, progress: Progress = silent) -> str:
    """Copy the checkpoint ``path`` to ``target``, which appears whole and checked or not at all; its SHA-256.

    A copy, as a hard link would change when ``path`` is written to. Raises ``AlreadyThere``, ``BadRequest`` on
    ``models`` or ``sha256``, ``UnknownCheckpoint``, ``BrokenCheckpoint`` and ``OSError``.
    """
    from engine.checkpoint import inspect_checkpoint

    inspect_checkpoint(path)
    with part_of(target, _unheard) as part, path.open("rb") as file:
        part.start_over()
        try:
            total = path.stat().st_size
            while chunk := file.read(_CHUNK):
                part.append(chunk)
                progress(part.size, total)
            digest = sha256_of(part.path)
            if sha256 not in (None, digest):
                raise BadRequest("sha256", digest, f"{sha256}: {path} is another file, or was altered")
            part.check()  # the copy may be of a file that was being written
            part.install()
        except BrokenCheckpoint as error:
            raise BrokenCheckpoint(path, error.reason) from None
        finally:
            part.discard()
    return digest


def remote_name(source: Source) -> str | None:
    """The name for the file at ``source``: its URL's, else the server's; None if that is no checkpoint's.

    Raises ``DownloadFailed``.
    """
    return safe_name(name_in_url(source.url)) or _Tries(source).until_done(lambda: _asked_name(source))


def _asked_name(source: Source) -> str | None:
    with open_url(source.url, token=source.token, timeout=source.patience.timeout) as response:
        return safe_name(name_in_headers(response) or name_in_url(response.url))


class _Tries:
    """Tries of one thing: how many were in vain, and the pause before the next."""

    def __init__(self, source: Source, part: Part | None = None) -> None:
        self._source = source
        self._part = part
        self._furthest = part.size if part else 0
        self._in_vain = 0

    def until_done(self, attempt: Callable[[], _T]) -> _T:
        """What ``attempt`` gives once it raises no ``Cut``. Raises ``DownloadFailed`` when patience ends."""
        while True:
            try:
                return attempt()
            except RangeRefused as cut:
                if self._part is not None:
                    self._part.start_over()
                self._pause(cut)
            except Cut as cut:
                self._pause(cut)

    def _pause(self, cut: Cut) -> None:
        reached, patience = self._part.size if self._part else 0, self._source.patience
        # only beyond the furthest point: a server that knows no ranges, and cuts, would else be asked for ever
        self._in_vain = 0 if reached > self._furthest else self._in_vain + 1
        self._furthest = max(self._furthest, reached)
        if self._in_vain >= patience.tries:
            kept = f"; {reached:,} bytes came and are kept, run it again to go on from there" if reached else ""
            raise DownloadFailed(self._source.url, f"{cut}; gave up after {self._in_vain} tries in vain{kept}")
        wanted = patience.pause * 2 ** max(0, self._in_vain - 1) if cut.after is None else cut.after
        pause = min(wanted, patience.longest_pause)
        self._source.note(f"{cut} (at {reached:,} bytes); trying again in {pause:g} s")
        time.sleep(pause)


def _fetched(part: Part, source: Source) -> str:
    """The SHA-256 of the whole file, once it has come.

    Raises ``DownloadFailed`` where it is not the file that was expected; nothing of it is kept then.
    """
    for _ in range(2):
        _Tries(source, part).until_done(lambda: _exchange(part, source))
        digest, pieced = sha256_of(part.path), part.pieced
        if source.sha256 in (None, digest):
            return digest
        part.start_over()
        if not pieced:
            break
        source.note("what came in pieces does not fit together; starting over")
    raise DownloadFailed(
        source.url, f"its SHA-256 is {digest}, not {source.sha256}: it is another file, or was altered on the way"
    )


def _exchange(part: Part, source: Source) -> None:
    """One request for what is missing. Raises ``Cut`` where the file is not whole afterwards."""
    if part.size and not _fits(part, source):
        part.start_over()
    headers = {}
    if part.size and part.origin:
        if part.size == part.origin.total:
            return
        headers = {"Range": f"bytes={part.size}-"} | ({"If-Range": v} if (v := part.origin.validator) else {})
    with open_url(source.url, headers=headers, token=source.token, timeout=source.patience.timeout) as response:
        if response.status == 206 and headers:
            total = _resume(part, response)
        elif response.status == 200:
            total = _begin(part, source, response)
        else:
            raise DownloadFailed(source.url, f"the server answered {response.status} {response.reason}")
        _receive(part, source, response, total)


def _fits(part: Part, source: Source) -> bool:
    """Whether the rest may be asked for: by a validator the server tells of a change, else the SHA-256 will."""
    origin = part.origin
    if origin is None or origin.url_digest != _digest(source.url):
        return False
    whole = origin.total is None or part.size <= origin.total
    return whole and (origin.validator is not None or source.sha256 is not None)


def _begin(part: Part, source: Source, response: HTTPResponse) -> int | None:
    """Start with the first bytes, if they are a checkpoint's; what came before is let go. The file's size, if told."""
    total, head = response.length, b""
    while len(head) < _HEAD and (more := read_some(response, _HEAD - len(head))):
        head += more
    if total is not None and len(head) < min(total, _HEAD):
        raise Cut("the connection ended")
    refusal = what_else(head, part.target.suffix)
    if refusal is not None:
        raise DownloadFailed(source.url, refusal)
    part.start_over(Origin(url_digest=_digest(source.url), validator=validator_of(response), total=total))
    part.append(head)
    return total


def _resume(part: Part, response: HTTPResponse) -> int | None:
    """Check that the response goes on where the file ends; the file's size, if told. Raises ``Cut`` if it does not."""
    assert part.origin is not None
    validator, total = part.origin.validator, part.origin.total
    told = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    now = response.headers.get("ETag" if validator and validator.startswith('"') else "Last-Modified", validator)
    fits = told is not None and int(told[1]) == part.size and (total is None or told[2] in ("*", str(total)))
    if told is None or not fits or (validator is not None and now != validator):
        part.start_over()
        raise Cut("the file on the server is another one now")
    part.pieced = True
    return int(told[2]) if total is None and told[2] != "*" else total


def _receive(part: Part, source: Source, response: HTTPResponse, total: int | None) -> None:
    if total is not None and part.lacks_room_for(total - part.size):
        raise DownloadFailed(source.url, f"{total - part.size:,} bytes are to come; {part.target.parent} has less room")
    source.progress(part.size, total)
    while chunk := read_some(response, _CHUNK):
        part.append(chunk)
        source.progress(part.size, total)
    if total is not None and part.size < total:
        raise Cut("the connection ended")
    if total is not None and part.size > total:
        part.start_over()
        raise Cut("more came than the server had promised")


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()
