"""The one thread that talks to the database: it takes all operations that wait, carries them out in one transaction and
commits once. Knows the connection and no table."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from server.store import StoreClosed, StoreFailed
from server.store.sql.database import Database

T = TypeVar("T")
Operation = Callable[[Database], T]

_log = logging.getLogger(__name__)
_MOST_TOGETHER = 256


@dataclass(eq=False)
class _Order:
    operation: Operation[Any]
    future: asyncio.Future[Any]
    of_queue: bool
    result: Any = None
    error: Exception | None = None


class DatabaseThread:
    """Runs operations on a connection that only its own thread uses."""

    def __init__(self, connect: Callable[[], Database]) -> None:
        """``connect`` is called on the thread, and again after the connection was lost."""
        self._connect = connect
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._held: _Order | None = None
        """An order that was taken, and is for the next transaction."""
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Open the connection. Raises what ``connect`` raises."""
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="database", daemon=True)
        self._thread.start()
        await opened

    async def stop(self) -> None:
        """Carry out the operations that wait, then close the connection."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._orders.put(None)
            await asyncio.to_thread(thread.join)

    def do(self, operation: Operation[T], *, of_queue: bool = False) -> asyncio.Future[T]:
        """Carry ``operation`` out within a transaction, together with others; the future's result is durable.

        ``of_queue``: while no other process does anything of the kind. The operation is queued when this returns, so
        that consecutive calls come into one transaction. An exception undoes its own operation only. The future raises
        ``StoreFailed`` if the database fails, and ``StoreClosed``.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._thread is None:
            future.set_exception(StoreClosed("the database is closed"))
        else:
            self._orders.put(_Order(operation, future, of_queue))
        return future

    def _run(self, opened: asyncio.Future[None]) -> None:
        assert self._loop is not None
        try:
            database = self._connect()
        except Exception as error:
            self._deliver(_refuse, opened, error)
            return
        self._deliver(opened.set_result, None)
        while (order := self._held or self._orders.get()) is not None:
            self._held = None
            try:
                database = self._connected(database)
            except Exception as error:
                order.error = StoreFailed(f"the database cannot be reached: {error}")
                self._deliver(_settle, [order])
                continue
            self._deliver(_settle, self._carry_out(database, order))
        with contextlib.suppress(*database.errors):
            database.close()

    def _connected(self, database: Database) -> Database:
        """Return ``database``, or a new connection in place of one that is lost."""
        if not database.broken:
            return database
        with contextlib.suppress(*database.errors):
            database.close()
        return self._connect()

    def _carry_out(self, database: Database, order: _Order) -> list[_Order]:
        """Carry out ``order``, and all that arrive meanwhile, in one transaction."""
        orders: list[_Order] = []
        try:
            _begin(database, order)
            while True:
                orders.append(order)
                (_first if len(orders) == 1 else _further)(database, order)
                following = self._next(database, order) if len(orders) < _MOST_TOGETHER else None
                if following is None:
                    break
                order = following
            database.execute("COMMIT")
        except Exception as error:  # the thread must go on, whatever it was
            _log.error("a transaction failed: %s", error, exc_info=not isinstance(error, database.errors))
            with contextlib.suppress(*database.errors):
                database.execute("ROLLBACK")
            for each in orders or [order]:
                each.error = StoreFailed(f"the database failed: {error}")
        return orders or [order]

    def _next(self, database: Database, before: _Order) -> _Order | None:
        """Return the next order that waits, if it may share the transaction of the one ``before`` it.

        What needs the queue's lock has a transaction that starts with it: two processes that took it after other locks
        could wait for each other.
        """
        try:
            order = self._orders.get_nowait()
        except queue.Empty:
            return None
        if order is None:
            self._orders.put(None)  # the end is for the next round
        elif database.shared and order.of_queue != before.of_queue:
            self._held = order
            return None
        return order

    def _deliver(self, callback: Callable[..., object], *arguments: object) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed, and no caller waits
            self._loop.call_soon_threadsafe(callback, *arguments)


def _begin(database: Database, order: _Order) -> None:
    database.execute("BEGIN")
    if order.of_queue:
        database.lock_queue()


def _first(database: Database, order: _Order) -> None:
    """Carry out a transaction's first operation, which is mostly its only one; an exception undoes it."""
    try:
        order.result = order.operation(database)
    except Exception as error:
        if database.in_transaction:  # SQLite may have undone it itself
            database.execute("ROLLBACK")
        _begin(database, order)
        order.error = _as_ours(database, error)


def _further(database: Database, order: _Order) -> None:
    """Carry out an operation after others; an exception undoes this one only."""
    database.execute("SAVEPOINT one")
    try:
        order.result = order.operation(database)
    except Exception as error:
        database.execute("ROLLBACK TO one")  # fails if SQLite undid everything itself: then all have failed
        order.error = _as_ours(database, error)
    database.execute("RELEASE one")


def _as_ours(database: Database, error: Exception) -> Exception:
    return StoreFailed(f"the database failed: {error}") if isinstance(error, database.errors) else error


def _settle(orders: list[_Order]) -> None:
    for order in orders:
        if order.future.done():
            continue
        if order.error is not None:
            order.future.set_exception(order.error)
        else:
            order.future.set_result(order.result)


def _refuse(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
