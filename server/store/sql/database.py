"""What the operations on the tables need of a database: a connection, and the words in which databases differ.

Statements are written once, for every database: values as ``?`` or ``:name``, columns of a row by their names. Where
two databases have no common word, the statement takes it from the connection's ``Language``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Row(Protocol):
    """One row of an answer."""

    def __getitem__(self, column: str, /) -> Any:
        """Return the value of the column with this name."""


class Rows(Protocol):
    """The answer to a statement: its rows, which are read once."""

    @property
    def rowcount(self) -> int:
        """The number of rows that an UPDATE or a DELETE changed."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


Values = Sequence[Any] | Mapping[str, Any]
"""The values of a statement, in the order of its ``?`` or by its ``:name``."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """The words in which databases differ."""

    greatest: str
    """The function of two numbers that returns the larger one."""
    by_queue: str
    """What follows the name of the table ``jobs`` where its index ``queue`` is to be used."""
    listed: str
    """A query for the elements of a list of texts, whose value stands in the place of ``{}``."""
    list_of: Callable[[Collection[str]], Any]
    """Returns the value of a list of texts."""
    counts: str
    """A query for ``name`` and ``number`` of each entry of a JSON object of whole numbers, in the place of ``{}``."""
    has_text: str
    """The condition that some text in the JSON of ``tasks`` is LIKE ``?``; the case of ASCII letters does not count."""
    without: Callable[[str, Collection[str]], tuple[str, list[str]]]
    """Returns the words for a column's JSON object, if possible without some of its keys, and the values of their
    ``?``."""


class Database(Protocol):
    """A connection that one thread uses."""

    language: Language
    errors: tuple[type[Exception], ...]
    """What the connection raises where the database fails."""
    shared: bool
    """Whether other processes may change the tables at the same time."""

    @property
    def broken(self) -> bool:
        """Whether the connection is lost, so that only a new one helps."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    def execute(self, statement: str, values: Values = (), /) -> Rows:
        """Carry out a statement with its values."""

    def executemany(self, statement: str, values: Iterable[Values], /) -> object:
        """Carry out a statement once for each of ``values``."""

    def lock_queue(self) -> None:
        """Let no other process change the queue until the transaction ends, where several use the database."""

    def close(self) -> None:
        """End the connection."""
