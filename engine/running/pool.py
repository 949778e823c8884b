"""What is resident: made on demand, within a memory budget, least recently used out first.

Knows nothing of what it holds: a ``Source`` says what a thing is made from, and the pool's maker how that is done and
how large it becomes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from engine.errors import EngineClosed, OutOfMemory
from engine.running.sources import Source, with_bases

R = TypeVar("R")


@dataclass(eq=False)
class Lease(Generic[R]):
    """The use of resident things, from ``Pool.acquire`` until ``release``."""

    resident: Future[tuple[R, ...]]
    """The things, in the order in which they were asked for."""
    waits: bool
    """Whether one of them was not resident yet when they were leased."""
    _release: Callable[[], None]
    released: bool = False

    def release(self) -> None:
        """Say that the things are not in use any more. Saying it twice does nothing."""
        if not self.released:
            self.released = True
            self._release()


@dataclass(eq=False)
class _Place(Generic[R]):
    source: Source
    value: R | None = None
    made: bool = False
    size: int = 0
    users: int = 0
    """Leases that hold it. A lease of a thing holds the thing's bases too."""


@dataclass(eq=False)
class _Group(Generic[R]):
    """What one lease wants: held once its turn to be made has come, all together."""

    sources: tuple[Source, ...]
    """As asked for."""
    closure: tuple[Source, ...]
    """The same with their bases, each once and behind its own bases."""
    resident: Future[tuple[R, ...]] = field(default_factory=Future)
    places: list[_Place[R]] = field(default_factory=list)
    left: bool = False
    """Whether its lease was released."""


class Pool(Generic[R]):
    """Resident things. Thread-safe; makes one at a time, on a thread of its own, so that no other request waits.

    The thread ends when there is nothing left to make. OpenMP keeps threads for each thread that ever computed on
    several processors, and once all of them are more than there are processors, each that waits for its part of an
    operation is put to sleep: of a small network's time on a CPU that is more than half.
    """

    def __init__(
        self, make: Callable[[Source, tuple[R, ...]], R], size_of: Callable[[Source], int], *, budget: int
    ) -> None:
        """``make`` is handed the source and its resident bases; ``size_of`` says what it takes beside these."""
        self._make = make
        self._size_of = size_of
        self._budget = budget
        self._places: OrderedDict[Source, _Place[R]] = OrderedDict()
        self._leaving: list[_Place[R]] = []  # still in use, to be let go of then, and not leased any more
        self._changed = threading.Condition()
        self._closed = False
        self._orders: deque[_Group[R]] = deque()
        self._making: _Group[R] | None = None
        self._maker: threading.Thread | None = None

    def acquire(self, *sources: Source) -> Lease[R]:
        """Lease what ``sources`` stand for; what is not resident is made in the background.

        Several things are had together or not at all: they are held only once all are resident, or their turn to be
        made has come, so that no two leases wait for each other. What making raises comes out of the lease's
        ``resident``: also ``OutOfMemory`` where they exceed the whole budget. Raises ``EngineClosed``.
        """
        group: _Group[R] = _Group(sources, with_bases(sources))
        with self._changed:
            if self._closed:
                raise EngineClosed("the engine is closed")
            at_once = all(source in self._places and self._places[source].made for source in group.closure)
            if at_once:
                self._hold(group)
                group.resident.set_result(_values(group.places, sources))
            else:
                self._order(group)
        return Lease(group.resident, not at_once, lambda: self._leave(group))

    def resident(self) -> list[Source]:
        """Return what is resident now, least recently used first."""
        with self._changed:
            return [place.source for place in [*self._leaving, *self._places.values()] if place.made]

    def making(self) -> list[Source]:
        """Return what is being made, or waits for that."""
        with self._changed:
            groups = [*([] if self._making is None else [self._making]), *self._orders]
            wanted = dict.fromkeys(source for group in groups for source in group.closure)
            return [source for source in wanted if not (source in self._places and self._places[source].made)]

    def let_go(self, path: Path) -> bool:
        """Drop all that is made from the file ``path``, at once if no request uses it, else after the last that does.

        Later requests have it made again. False if nothing of it is resident.
        """
        file = path.resolve()
        with self._changed:
            found = [
                place for place in self._places.values() if place.made and file in (s.path for s in place.source.stamps)
            ]
            for place in found:
                self._dismiss(place)
            self._changed.notify_all()
        return bool(found)

    def close(self) -> None:
        """Let go of everything. What has not started, or waits for room, fails with ``EngineClosed``."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            maker = self._maker
        if maker and maker is not threading.current_thread():  # which may be what collects a forgotten engine
            maker.join()
        with self._changed:
            waiting = list(self._orders)
            self._places.clear()
            self._leaving.clear()
            self._orders.clear()
        for group in waiting:
            group.resident.set_exception(EngineClosed("the engine was closed before the checkpoint was loaded"))

    def _order(self, group: _Group[R]) -> None:
        """Have the maker's thread see to ``group``."""
        self._orders.append(group)
        if self._maker is None:
            maker = threading.Thread(target=self._run, name="checkpoint-loader", daemon=True)
            try:
                maker.start()  # it waits until the caller lets go of the lock
            except BaseException:
                self._orders.pop()
                raise
            self._maker = maker

    def _hold(self, group: _Group[R]) -> None:
        for source in group.closure:
            place = self._places.setdefault(source, _Place(source))
            self._places.move_to_end(source)
            place.users += 1
            group.places.append(place)

    def _leave(self, group: _Group[R]) -> None:
        with self._changed:
            group.left = True
            places, group.places = group.places, []
            for place in places:
                place.users -= 1
                if not place.users and place in self._leaving:
                    self._leaving.remove(place)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._making = None
                if self._closed or not self._orders:
                    self._maker = None
                    return
                group = self._making = self._orders.popleft()
            self._fill(group)
            del group  # or it would keep what it holds until the next one is made

    def _fill(self, group: _Group[R]) -> None:
        """Hold what a group wants, and make what is missing of it. What other leases hold comes free one after another
        meanwhile, because every other lease has all that it waits for."""
        try:
            sizes = {source: self._size_of(source) for source in group.closure}
            if sum(sizes.values()) > self._budget:
                names, together = " and ".join(map(str, group.closure)), " together" if len(group.closure) > 1 else ""
                size = f"{sum(sizes.values()):,} bytes{together}"
                raise OutOfMemory(f"{names}: {size}, where the memory budget is {self._budget:,}")
            with self._changed:
                if group.left:
                    raise EngineClosed("the request was cancelled while it waited for its checkpoint to be loaded")
                self._hold(group)
                places = list(group.places)
            for place in places:
                if not place.made:
                    self._make_room(place, sizes[place.source], places)
                    self._fill_place(place, _values(places, place.source.bases))
            resident = _values(places, group.sources)
        except BaseException as error:
            group.resident.set_exception(error)
        else:
            group.resident.set_result(resident)

    def _fill_place(self, place: _Place[R], bases: tuple[R, ...]) -> None:
        try:
            value = self._make(place.source, bases)
        except BaseException as error:
            with self._changed:
                self._forget(place)
                alike = [group for group in self._orders if place.source in group.closure]
                for group in alike:
                    self._orders.remove(group)
            for group in alike:  # they would only find the same out
                group.resident.set_exception(error)
            raise
        with self._changed:
            place.value, place.made = value, True

    def _forget(self, place: _Place[R]) -> None:
        if self._places.get(place.source) is place:
            del self._places[place.source]
        place.size = 0
        self._changed.notify_all()

    def _dismiss(self, place: _Place[R]) -> None:
        """Lease ``place`` and all that shares its tensors no more, and let go of what is not in use."""
        for other in [*self._places.values()]:
            if other is place or place.source in other.source.bases:
                self._places.pop(other.source, None)
                if other.users:
                    self._leaving.append(other)

    def _make_room(self, newcomer: _Place[R], size: int, beside: Sequence[_Place[R]]) -> None:
        """Let go of what is idle, least recently used first, until ``size`` bytes are free; of none of ``beside``.

        What others share tensors with goes after these. Where all are in use, the least recently used one is not leased
        any more, and the others wait for its end: what is always in use must not keep another out for ever.
        """
        with self._changed:
            while not self._closed and newcomer.users:
                held = [*self._leaving, *self._places.values()]
                if sum(place.size for place in held) + size <= self._budget:
                    newcomer.size = size
                    return
                needed = {base for place in held for base in place.source.bases}
                loaded = [place for place in self._places.values() if place.made and place not in beside]
                idle = [place for place in loaded if not place.users and place.source not in needed]
                if idle:
                    del self._places[idle[0].source]
                elif loaded and not self._leaving:
                    self._dismiss(loaded[0])
                else:
                    self._changed.wait()
            self._forget(newcomer)  # no lease may get it between here and its failure
        raise EngineClosed("the engine was closed, or the request cancelled, while the checkpoint waited for room")


def _values(places: Sequence[_Place[R]], sources: Sequence[Source]) -> tuple[R, ...]:
    """What ``places``, which are filled, hold of ``sources``."""
    values: dict[Source, Any] = {place.source: place.value for place in places}
    return tuple(values[source] for source in sources)
