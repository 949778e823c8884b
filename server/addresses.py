"""Addresses of databases and of folders for pictures: which ones there can be, and how they are shown to people."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MEMORY = ":memory:"
"""The name of a database that lasts as long as its process, as SQLite has it."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_POSTGRES = ("postgresql", "postgres")


def scheme_of(address: str) -> str | None:
    """Return the scheme of a URL in lower case, or None for a path."""
    match = _SCHEME.match(address)
    return None if match is None else match[1].lower()


def is_postgres(database: str) -> bool:
    """Whether a database's address is that of a PostgreSQL server."""
    return scheme_of(database) in _POSTGRES


def check_database(database: str) -> str:
    """Return the address of a database. Raises ``ValueError`` for a URL that no store has."""
    if scheme_of(database) is None or is_postgres(database):
        return database
    raise ValueError(f"expected the path of an SQLite file, {MEMORY}, or postgresql://user@host/database")


def check_storage(folder: str) -> str:
    """Return the address of a folder. Raises ``ValueError`` for a URL that fsspec cannot open here."""
    scheme = scheme_of(folder)
    if scheme is not None:
        import fsspec  # imports much, and a folder's path needs nothing of it

        try:
            fsspec.get_filesystem_class(scheme)
        except ValueError:
            raise ValueError("expected a folder, or a URL with a scheme that fsspec knows") from None
        except ImportError as error:
            raise ValueError(
                f"expected a folder: {scheme}:// needs a package that is not installed ({error})"
            ) from None
    return folder


def has_password(database: str) -> bool:
    """Whether a database's address holds a password, which the list of processes would show."""
    return is_postgres(database) and (
        urlsplit(database).password is not None or "password=" in urlsplit(database).query.lower()
    )


def without_secrets(database: str) -> str:
    """Return a database's address as a log may show it: without password and options."""
    if not is_postgres(database):
        return database
    user, _, hosts = urlsplit(database).netloc.rpartition("@")
    name = user.partition(":")[0]
    return f"{scheme_of(database)}://{name}{'@' if name else ''}{hosts}{urlsplit(database).path}"
