"""Files of the models folders as AUTOMATIC1111's callers name them: with or without folder, suffix and hash."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from server.backends.checkpoints import FileInfo
from server.problems import Problem, bad_request

_HASH = re.compile(r"\s*\[[0-9a-fA-F]*\]$")
_SHOWN = 5


def file_named(wanted: object, files: Sequence[FileInfo], place: str, *others: str) -> str:
    """Return the name of the file that ``wanted`` names; a hash in brackets behind it is passed over.

    ``others`` are further values that are allowed. Raises ``Problem`` on ``place``, with the nearest names.
    """
    names = [file.name for file in files]
    text = _HASH.sub("", wanted).replace("\\", "/") if isinstance(wanted, str) else ""
    for spelling in (str, basename, stem):
        found = [name for name in names if spelling(name) == text]
        if found and text:
            return found[0]
    raise _unknown(wanted, [*others, *names], place)


def basename(name: str) -> str:
    """Return a file's name without its folders."""
    return name.rpartition("/")[2]


def stem(name: str) -> str:
    """Return a file's name without its folders and its suffix, as AUTOMATIC1111 shows it."""
    base = basename(name)
    return base.rpartition(".")[0] or base


def _unknown(wanted: object, names: Sequence[str], place: str) -> Problem:
    if not names:
        return bad_request(place, wanted, "no value: there are no such files here")
    nearest = difflib.get_close_matches(str(wanted)[:200], names, n=_SHOWN, cutoff=0.3) or names[:_SHOWN]
    more = len(names) - len(nearest)
    return bad_request(place, wanted, f"one of {', '.join(nearest)}{f' and {more} others' if more else ''}")
