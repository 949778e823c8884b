"""The checkpoints that are resident: loaded on demand, within a memory budget, least recently used out first.

Knows nothing of what a checkpoint is for: its maker says how a file is loaded and how large it becomes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from engine.errors import EngineClosed, OutOfMemory, UnknownCheckpoint

R = TypeVar("R")

_Key: TypeAlias = tuple[Path, int, int]
"""A file's path, time of change and size: what tells it from the file that replaced it."""


@dataclass(eq=False)
class Lease(Generic[R]):
    """The use of resident checkpoints, from ``Pool.acquire`` until ``release``."""

    resident: Future[tuple[R, ...]]
    """The checkpoints, in the order in which they were asked for."""
    waits: bool
    """Whether one of them was not resident yet when they were leased."""
    _release: Callable[[], None]
    released: bool = False

    def release(self) -> None:
        """Say that the checkpoints are not in use any more. Saying it twice does nothing."""
        if not self.released:
            self.released = True
            self._release()


@dataclass(eq=False)
class _Place(Generic[R]):
    path: Path
    resident: Future[R] = field(default_factory=Future)
    size: int = 0
    users: int = 0


@dataclass(eq=False)
class _Group(Generic[R]):
    """Several checkpoints that are wanted together."""

    keys: tuple[_Key, ...]
    paths: tuple[Path, ...]
    resident: Future[tuple[R, ...]] = field(default_factory=Future)
    places: list[_Place[R]] = field(default_factory=list)
    """Those that are held for it, once its turn has come."""
    left: bool = False
    """Whether its lease was released."""


class Pool(Generic[R]):
    """Resident checkpoints. Thread-safe; loads one at a time, on a thread of its own, so that no other request waits.

    The thread ends when there is nothing left to load. OpenMP keeps threads for each thread that ever computed on
    several processors, and once all of them are more than there are processors, each that waits for its part of an
    operation is put to sleep: of a small network's time on a CPU that is more than half.
    """

    def __init__(self, load: Callable[[Path], R], size_of: Callable[[Path], int], *, budget: int) -> None:
        self._load = load
        self._size_of = size_of
        self._budget = budget
        self._places: OrderedDict[_Key, _Place[R]] = OrderedDict()
        self._leaving: list[_Place[R]] = []  # still in use, to be let go of then, and not leased any more
        self._changed = threading.Condition()
        self._closed = False
        self._orders: deque[tuple[_Key, _Place[R]] | _Group[R]] = deque()
        self._loader: threading.Thread | None = None

    def acquire(self, *paths: Path) -> Lease[R]:
        """Lease the checkpoints in ``paths``; those that are not resident are loaded in the background.

        A file that was replaced on disk since is another checkpoint. Several checkpoints are had together or not at
        all: they are held only once their turn to be loaded has come, so that no two leases wait for each other.
        What loading raises comes out of the lease's ``resident``: also ``OutOfMemory`` where the files exceed the whole
        budget. Raises ``UnknownCheckpoint`` if there is no such file, and ``EngineClosed``.
        """
        keys = tuple(map(_key_of, paths))
        with self._changed:
            if self._closed:
                raise EngineClosed("the engine is closed")
            if len(keys) > 1:
                group: _Group[R] = _Group(keys, paths)
                self._order(group)
                waits = any(key not in self._places or not self._places[key].resident.done() for key in keys)
                return Lease(group.resident, waits, lambda: self._leave_group(group))
            (key,), (path,) = keys, paths
            place = self._places.get(key)
            if place is None:
                place = _Place(path)
                self._order((key, place))  # before it has a place: where no thread can be started, nothing has changed
                self._places[key] = place
            self._places.move_to_end(key)
            place.users += 1
            waits = not place.resident.done()
        return Lease(_alone(place.resident), waits, lambda: self._leave(place))

    def resident(self) -> list[Path]:
        """The files that are loaded now, least recently used first."""
        with self._changed:
            return [
                place.path for place in [*self._leaving, *self._places.values()] if place.size and place.resident.done()
            ]

    def loading(self) -> list[Path]:
        """The files that are being loaded, or wait for that."""
        with self._changed:
            places = [*self._leaving, *self._places.values()]
            return [place.path for place in places if not place.resident.done()]

    def let_go(self, path: Path) -> bool:
        """Drop the checkpoint in ``path``, at once if no request uses it, else after the last one that does.

        Later requests load it again. False if it is not resident.
        """
        file = path.resolve()
        with self._changed:
            keys = [key for key, place in self._places.items() if key[0] == file and place.resident.done()]
            for key in keys:
                place = self._places.pop(key)
                if place.users:
                    self._leaving.append(place)
            self._changed.notify_all()
        return bool(keys)

    def close(self) -> None:
        """Let go of everything. Loads that did not begin, or wait for room, fail with ``EngineClosed``."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            loader = self._loader
        if loader and loader is not threading.current_thread():  # which may be what collects a forgotten engine
            loader.join()
        with self._changed:
            waiting: list[Future[Any]] = [place.resident for place in self._places.values()]
            waiting += [order.resident for order in self._orders if isinstance(order, _Group)]
            self._places.clear()
            self._leaving.clear()
            self._orders.clear()
        for resident in waiting:
            if not resident.done():
                resident.set_exception(EngineClosed("the engine was closed before the checkpoint was loaded"))

    def _order(self, order: tuple[_Key, _Place[R]] | _Group[R]) -> None:
        """Have the loader's thread see to ``order``."""
        self._orders.append(order)
        if self._loader is None:
            loader = threading.Thread(target=self._run, name="checkpoint-loader", daemon=True)
            try:
                loader.start()  # it waits until the caller lets go of the lock
            except BaseException:
                self._orders.pop()
                raise
            self._loader = loader

    def _leave(self, *places: _Place[R]) -> None:
        with self._changed:
            for place in places:
                place.users -= 1
                if not place.users and place in self._leaving:
                    self._leaving.remove(place)
            self._changed.notify_all()

    def _leave_group(self, group: _Group[R]) -> None:
        with self._changed:
            group.left = True
            places, group.places = group.places, []
        self._leave(*places)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed or not self._orders:
                    self._loader = None
                    return
                order = self._orders.popleft()
            if isinstance(order, _Group):
                self._fill_group(order)
            else:
                self._fill(*order)
            del order  # or it would keep the checkpoint until the next one is loaded

    def _fill(self, key: _Key, place: _Place[R], *, beside: Sequence[_Place[R]] = ()) -> None:
        if place.resident.done():  # by way of a group
            return
        try:
            self._make_room(key, place, self._size_of(place.path), beside)
            resident = self._load(place.path)
        except BaseException as error:
            with self._changed:
                if self._places.get(key) is place:
                    del self._places[key]
                place.size = 0
                self._changed.notify_all()
            place.resident.set_exception(error)
        else:
            place.resident.set_result(resident)

    def _fill_group(self, group: _Group[R]) -> None:
        """Hold what a group wants, and load what is missing of it. The checkpoints that other leases hold come free one
        after another meanwhile, because every other lease has all that it waits for."""
        try:
            size = sum(map(self._size_of, group.paths))
            if size > self._budget:
                names = " and ".join(path.name for path in group.paths)
                raise OutOfMemory(f"{names} take {size:,} bytes together; the memory budget is {self._budget:,}")
            with self._changed:
                if group.left:
                    raise EngineClosed("the request was cancelled while its checkpoints waited to be loaded")
                for key, path in zip(group.keys, group.paths, strict=True):
                    place = self._places.setdefault(key, _Place(path))
                    self._places.move_to_end(key)
                    place.users += 1
                    group.places.append(place)
                places = list(group.places)
            for key, place in zip(group.keys, places, strict=True):
                self._fill(key, place, beside=places)
            resident = tuple(place.resident.result() for place in places)
        except BaseException as error:
            group.resident.set_exception(error)
        else:
            group.resident.set_result(resident)

    def _make_room(self, key: _Key, newcomer: _Place[R], size: int, beside: Sequence[_Place[R]]) -> None:
        """Let go of idle checkpoints, least recently used first, until ``size`` bytes are free; none of ``beside``.

        Where all are in use, the least recently used one is not leased any more, and the others wait for its end:
        a checkpoint that is always in use must not keep another out for ever.
        """
        if size > self._budget:
            raise OutOfMemory(f"{newcomer.path} takes {size:,} bytes; the memory budget is {self._budget:,}")
        with self._changed:
            while not self._closed and newcomer.users:
                held = [*self._leaving, *self._places.values()]
                if sum(place.size for place in held) + size <= self._budget:
                    newcomer.size = size
                    return
                loaded = [item for item in self._places.items() if item[1].size and item[1] not in beside]
                idle = [item for item in loaded if not item[1].users]
                if idle:
                    del self._places[idle[0][0]]
                elif loaded and not self._leaving:
                    self._leaving.append(self._places.pop(loaded[0][0]))
                else:
                    self._changed.wait()
            if self._places.get(key) is newcomer:
                del self._places[key]  # no lease may get it between here and its failure
        raise EngineClosed("the engine was closed, or the request cancelled, while the checkpoint waited for room")


def _key_of(path: Path) -> _Key:
    try:
        status = path.stat()
    except OSError as error:
        raise UnknownCheckpoint("model", str(path), f"a readable file ({error.strerror})") from None
    return path.resolve(), status.st_mtime_ns, status.st_size


def _alone(resident: Future[R]) -> Future[tuple[R, ...]]:
    """``resident`` as the future of a lease with one checkpoint."""
    leased: Future[tuple[R, ...]] = Future()

    def settle(done: Future[R]) -> None:
        error = done.exception()
        if error is None:
            leased.set_result((done.result(),))
        else:
            leased.set_exception(error)

    resident.add_done_callback(settle)
    return leased
