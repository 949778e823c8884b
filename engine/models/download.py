"""A URL or a file → a whole, checked file in the models folder: tries again, resumes, and refuses other files.

Knows nothing of the catalog and of who watches; the exchange is ``web``'s, the file ``incoming``'s.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx

from engine.errors import BadRequest, BrokenCheckpoint
from engine.models.hashes import Progress, sha256_of, silent
from engine.models.incoming import Note, Origin, PartFile, part_file, safe_name, what_else
from engine.models.inspecting import inspect_file
from engine.models.web import (
    Cut,
    DownloadFailed,
    RangeRefused,
    checked_url,
    length_of,
    name_in_headers,
    name_in_url,
    open_url,
    validator_of,
)
from engine.tensors.kinds import FileKind

_CHUNK = 1 << 18
_HEAD = 512
_T = TypeVar("_T")

Placed = Callable[[FileKind], Path]
"""Kind of file → the path that it gets."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Timeouts and retries."""

    timeout: float = 30.0
    """Seconds of silence after which a connection counts as broken."""
    tries: int = 6
    """Tries in a row that may bring the file no further before the download fails."""
    pause: float = 1.0
    """Seconds before the second of them; each further pause is twice as long."""
    longest_pause: float = 30.0
    """The longest pause in seconds, whatever the server asks for."""


def _ignored(line: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Source:
    """A URL and how to fetch it. Raises ``BadRequest`` for a URL that ``checked_url`` refuses."""

    url: str
    sha256: str | None = None
    """The SHA-256 that the file must have, where it is known."""
    token: str | None = field(default=None, repr=False)
    """A bearer token; it is sent to the URL's own origin alone."""
    patience: Patience = Patience()
    progress: Progress = silent
    note: Note = _ignored

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", checked_url(self.url, self.token))


def download(source: Source, target: Path, place: Placed | None = None) -> str:
    """Fetch the file ``source`` to ``target``, which appears whole and checked or not at all; return its SHA-256.

    With ``place`` it goes where that puts a file of its kind. The bytes of a download that broke are kept beside
    ``target``, and the next call goes on from there. Raises ``AlreadyThere``, ``BadRequest`` on ``models``, and
    ``DownloadFailed``; and ``OSError`` where the disk fails.
    """
    with part_file(target, source.note) as part:
        digest = _fetched(part, source)
        try:
            kind = part.check()
        except BrokenCheckpoint as error:
            part.discard()
            raise DownloadFailed(source.url, error.reason) from None
        part.install(target if place is None else place(kind))
    return digest


def copy(path: Path, target: Path, *, sha256: str | None = None, progress: Progress = silent) -> str:
    """Copy the file ``path`` to ``target``, which appears whole and checked or not at all; return its SHA-256.

    A hard link would not do: it would change when ``path`` is written to. Raises ``AlreadyThere``, ``BadRequest`` on
    ``models`` or ``sha256``, ``UnknownCheckpoint``, ``BrokenCheckpoint`` and ``OSError``.
    """
    inspect_file(path)
    with part_file(target, _ignored) as part, path.open("rb") as file:
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
            part.install(target)
        except BrokenCheckpoint as error:
            raise BrokenCheckpoint(path, error.reason) from None
        finally:
            part.discard()
    return digest


def remote_name(source: Source) -> str | None:
    """Name the file at ``source``: as its URL does, else as the server does; None if neither is a checkpoint's name.

    Raises ``DownloadFailed``.
    """
    return safe_name(name_in_url(source.url)) or _Tries(source).until_done(lambda: _asked_name(source))


def _asked_name(source: Source) -> str | None:
    with open_url(source.url, token=source.token, timeout=source.patience.timeout) as response:
        return safe_name(name_in_headers(response) or name_in_url(str(response.url)))


class _Tries:
    """Repeats an attempt until it succeeds or too many attempts in a row have brought nothing."""

    def __init__(self, source: Source, part: PartFile | None = None) -> None:
        self._source = source
        self._part = part
        self._furthest = part.size if part else 0
        self._in_vain = 0

    def until_done(self, attempt: Callable[[], _T]) -> _T:
        """Return what ``attempt`` returns once it raises no ``Cut``. Raises ``DownloadFailed`` after too many tries."""
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
        # progress counts beyond the furthest point alone: a server without ranges that cuts would be asked for ever
        self._in_vain = 0 if reached > self._furthest else self._in_vain + 1
        self._furthest = max(self._furthest, reached)
        if self._in_vain >= patience.tries:
            kept = f"; {reached:,} bytes came and are kept, run it again to go on from there" if reached else ""
            raise DownloadFailed(self._source.url, f"{cut}; gave up after {self._in_vain} tries in vain{kept}")
        wanted = patience.pause * 2 ** max(0, self._in_vain - 1) if cut.after is None else cut.after
        pause = min(wanted, patience.longest_pause)
        self._source.note(f"{cut} (at {reached:,} bytes); trying again in {pause:g} s")
        time.sleep(pause)


def _fetched(part: PartFile, source: Source) -> str:
    """Fetch the whole file and return its SHA-256.

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


def _exchange(part: PartFile, source: Source) -> None:
    """Ask once for what is missing. Raises ``Cut`` where the file is not whole afterwards."""
    if part.size and not _fits(part, source):
        part.start_over()
    headers = {}
    if part.size and part.origin:
        if part.size == part.origin.total:
            return
        headers = {"Range": f"bytes={part.size}-"} | ({"If-Range": v} if (v := part.origin.validator) else {})
    with open_url(source.url, headers=headers, token=source.token, timeout=source.patience.timeout) as response:
        body = response.iter_raw()
        if response.status_code == 206 and headers:
            total = _resume(part, response)
        elif response.status_code == 200:
            total = _begin(part, source, response, body)
        else:
            status = f"{response.status_code} {response.reason_phrase}"
            raise DownloadFailed(source.url, f"the server answered {status}")
        _receive(part, source, body, total)


def _fits(part: PartFile, source: Source) -> bool:
    """Say whether the rest may be asked for: a change of the file shows in its validator, or in a known SHA-256."""
    origin = part.origin
    if origin is None or origin.url_digest != _digest(source.url):
        return False
    whole = origin.total is None or part.size <= origin.total
    return whole and (origin.validator is not None or source.sha256 is not None)


def _begin(part: PartFile, source: Source, response: httpx.Response, body: Iterator[bytes]) -> int | None:
    """Start the file anew with its first bytes, if they are a checkpoint's. Returns the file's size, if known."""
    total, head = length_of(response), b""
    while len(head) < _HEAD and (more := next(body, b"")):
        head += more
    refusal = what_else(head, part.target.suffix)
    if refusal is not None:
        raise DownloadFailed(source.url, refusal)
    part.start_over(Origin(url_digest=_digest(source.url), validator=validator_of(response), total=total))
    part.append(head)
    return total


def _resume(part: PartFile, response: httpx.Response) -> int | None:
    """Check that the response goes on where the file ends. Returns the file's size, if known. Raises ``Cut`` if not."""
    assert part.origin is not None
    validator, total = part.origin.validator, part.origin.total
    stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    now = response.headers.get("ETag" if validator and validator.startswith('"') else "Last-Modified", validator)
    fits = stated is not None and int(stated[1]) == part.size and (total is None or stated[2] in ("*", str(total)))
    if stated is None or not fits or (validator is not None and now != validator):
        part.start_over()
        raise Cut("the file on the server is another one now")
    part.pieced = True
    return int(stated[2]) if total is None and stated[2] != "*" else total


def _receive(part: PartFile, source: Source, body: Iterator[bytes], total: int | None) -> None:
    if total is not None and part.lacks_room_for(total - part.size):
        missing = f"{total - part.size:,} bytes"
        raise DownloadFailed(source.url, f"{missing} are to come; {part.target.parent} has less room")
    source.progress(part.size, total)
    for chunk in body:
        part.append(chunk)
        source.progress(part.size, total)
    if total is not None and part.size < total:
        raise Cut("the connection ended")
    if total is not None and part.size > total:
        part.start_over()
        raise Cut("more came than the server had promised")


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()
