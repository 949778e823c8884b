"""The loop's one step: admit, group, advance, retire, cancel.

Pure Python: it moves trajectories, and knows no tensors, no models and no threads.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar


class Member(Protocol):
    """What the batcher needs to know of a trajectory."""

    groups: frozenset[Hashable]
    owner: Hashable
    pictures: int
    rows: int
    work: float

    @property
    def x(self) -> Any: ...
    def evaluation(self, *, wait: bool = False) -> Any: ...
    def send(self, denoised: Any) -> None: ...
    def close(self) -> None: ...


M = TypeVar("M", bound=Member)


@dataclass
class Tick(Generic[M]):
    """What one tick did."""

    advanced: list[M] = field(default_factory=list)
    finished: list[M] = field(default_factory=list)
    failed: list[tuple[M, Exception]] = field(default_factory=list)


@dataclass
class _Turn:
    """Where an owner stands."""

    due: float
    """When it may lead a tick, by the clock of the work that has led ticks."""
    served: int
    """When a member was last evaluated: the number of that, counted over all."""


class Batcher(Generic[M]):
    """Advances the trajectories of many requests together. Not thread-safe: the device's thread owns it.

    ``evaluate`` takes members that have a group in common with the first, and returns their predictions; where it
    raises for several, they are evaluated again in halves, so that an error meets only those who cause it.

    ``capacity`` pictures advance together; a tick takes as many of them as fill ``rows`` rows, so that it is short. The
    owners of members take turns at leading a tick, each with its member that was evaluated longest ago, and the rows
    that are left are shared out in turn too. Turns are weighed by their work (start-time fair queueing; Goyal, Vin and
    Cheng, 1996): an owner of larger pictures, or of ones with ControlNets, leads fewer ticks. So no owner is slowed
    down by how much another asks for.
    """

    def __init__(self, evaluate: Callable[[Sequence[M]], Sequence[Any]], *, capacity: int, rows: int) -> None:
        self._evaluate = evaluate
        self._capacity = capacity
        self._rows = rows
        self._waiting: deque[M] = deque()
        self._flying: list[M] = []  # who was evaluated, or admitted, longest ago comes first
        self._turns: dict[Hashable, _Turn] = {}  # of the owners of those in flight, and of those who led too much
        self._clock = 0.0  # when the latest leader was due
        self._count = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._flying)

    def add(self, member: M) -> None:
        """Queue ``member`` for a place."""
        self._waiting.append(member)

    def remove(self, member: M) -> bool:
        """Take ``member`` out, wherever it is; its place is free at the next tick. False if it was not there."""
        for members in (self._waiting, self._flying):
            if member in members:
                members.remove(member)
                member.close()
                return True
        return False

    def admit(self) -> list[M]:
        """Give free places to those who wait, first come, first served: they take part from the next tick.

        A member larger than the capacity takes part alone.
        """
        admitted: list[M] = []
        places = self._capacity - sum(member.pictures for member in self._flying)
        while self._waiting and (self._waiting[0].pictures <= places or not (self._flying or admitted)):
            admitted.append(self._waiting.popleft())
            places -= admitted[-1].pictures
        self._flying += admitted
        return admitted

    def tick(self) -> Tick[M]:
        """Evaluate those whose turn it is, and hand each its prediction."""
        tick: Tick[M] = Tick()
        chosen = self._choose(tick)
        if chosen:
            self._flying = [member for member in self._flying if member not in chosen] + chosen
            self._advance(chosen, tick)
        tick.finished = [member for member in self._flying if member.x is not None]
        self._flying = [member for member in self._flying if member.x is None]
        return tick

    def _choose(self, tick: Tick[M]) -> list[M]:
        """Who leads the tick, and those with a group of its own that fill the rows."""
        ready = [member for member in list(self._flying) if self._ready(member, tick)]
        if not ready and self._flying:
            ready = [member for member in self._flying[:1] if self._ready(member, tick, wait=True)]
        if not ready:
            return []
        turns = self._turns = self._current_turns()
        leader = min(ready, key=self._turn_of)  # of its owner's, the first in ``ready``
        chosen = [leader]
        rows = leader.rows
        for member in self._riders(leader, ready):
            if rows + member.rows <= self._rows:
                chosen.append(member)
                rows += member.rows
        self._clock, _ = self._turn_of(leader)
        turns[leader.owner].due = self._clock + leader.work
        for member in chosen:
            turns[member.owner].served = next(self._count)
        return chosen

    def _riders(self, leader: M, ready: Sequence[M]) -> list[M]:
        """Who may share ``leader`` 's tick: one of each owner, by who was served longest ago, then those of the owner
        whose members before are the least work …"""
        before: dict[Hashable, float] = {leader.owner: leader.work}
        turns: list[tuple[float, int, M]] = []
        for member in ready:
            if member is not leader and not member.groups.isdisjoint(leader.groups):
                work = before.get(member.owner, 0.0)
                turns.append((work, self._turns[member.owner].served, member))
                before[member.owner] = work + member.work
        return [member for _, _, member in sorted(turns, key=lambda turn: turn[:2])]

    def _current_turns(self) -> dict[Hashable, _Turn]:
        """The turns of all who have members in flight, and of those who have none but would come back before their
        turn. A new owner comes behind all others."""
        flying = dict.fromkeys(member.owner for member in self._flying)
        turns = {owner: turn for owner, turn in self._turns.items() if owner in flying or turn.due > self._clock}
        last = max((turn.due for turn in turns.values()), default=self._clock)
        for owner in flying:
            if owner not in turns:
                turns[owner] = _Turn(due=last, served=next(self._count))
        return turns

    def _turn_of(self, member: M) -> tuple[float, int]:
        """When the owner of ``member`` is due, and how long it has waited: nothing is saved up."""
        turn = self._turns[member.owner]
        return max(turn.due, self._clock), turn.served

    def _ready(self, member: M, tick: Tick[M], *, wait: bool = False) -> bool:
        """Whether ``member`` has something to evaluate; not so while its sampler waits for a number from the device."""
        try:
            return member.evaluation(wait=wait) is not None
        except Exception as error:
            self._fail(member, error, tick)
            return False

    def _advance(self, members: list[M], tick: Tick[M]) -> None:
        try:
            predictions = self._evaluate(members)
        except Exception as error:
            if len(members) == 1:
                self._fail(members[0], error, tick)
            else:
                middle = len(members) // 2
                self._advance(members[:middle], tick)
                self._advance(members[middle:], tick)
            return
        for member, denoised in zip(members, predictions, strict=True):
            try:
                member.send(denoised)
            except Exception as error:
                self._fail(member, error, tick)
            else:
                tick.advanced.append(member)

    def _fail(self, member: M, error: Exception, tick: Tick[M]) -> None:
        self._flying.remove(member)
        member.close()
        tick.failed.append((member, error))
