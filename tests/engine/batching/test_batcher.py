"""The batcher's promises, with members that are plain Python."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.batching.batcher import Batcher, Tick


@dataclass(eq=False)
class Counter:
    """A member that is done after ``length`` evaluations and remembers when it was evaluated."""

    name: str
    length: int
    groups: frozenset[Hashable] = frozenset({"same"})
    owner: Hashable = None
    pictures: int = 1
    rows: int = 2
    work: float = 1.0
    raises_at: int | None = None
    slow: bool = False
    seen: list[int] = field(default_factory=list)
    closed: bool = False
    waited: bool = False

    @property
    def x(self) -> Any:
        return "x" if len(self.seen) >= self.length else None

    def evaluation(self, *, wait: bool = False) -> Any:
        self.waited = self.waited or wait
        return None if self.x or (self.slow and not self.waited) else self.name

    def send(self, denoised: Any) -> None:
        if self.raises_at == len(self.seen):
            raise ValueError(f"{self.name} cannot go on")
        self.seen.append(denoised)

    def close(self) -> None:
        self.closed = True


class Clock:
    """Evaluates: hands every member the number of the call."""

    def __init__(self, poison: str | None = None, at_most: int | None = None) -> None:
        self.calls: list[list[str]] = []
        self.poison = poison
        self.at_most = at_most

    def __call__(self, members: Sequence[Counter]) -> list[int]:
        self.calls.append([member.name for member in members])
        if self.poison in self.calls[-1]:
            raise RuntimeError("poisoned")
        if self.at_most is not None and len(members) > self.at_most:
            raise MemoryError
        return [len(self.calls)] * len(members)


def step(batcher: Batcher[Counter]) -> Tick[Counter]:
    batcher.admit()
    return batcher.tick()


def run(batcher: Batcher[Counter], ticks: int = 1000) -> tuple[list[str], list[str]]:
    """Names finished, and names failed, in order."""
    finished, failed = [], []
    for _ in range(ticks):
        tick = step(batcher)
        finished += [member.name for member in tick.finished]
        failed += [member.name for member, _ in tick.failed]
        if not len(batcher):
            break
    return finished, failed


def test_members_share_a_call_and_leave_when_done() -> None:
    clock = Clock()
    batcher = Batcher(clock, capacity=8, rows=16)
    for name, length in (("long", 5), ("short", 2)):
        batcher.add(Counter(name, length))
    assert run(batcher) == (["short", "long"], [])
    assert clock.calls == [["long", "short"], ["long", "short"], ["long"], ["long"], ["long"]]


def test_a_late_short_one_overtakes_an_early_long_one() -> None:
    batcher = Batcher(Clock(), capacity=8, rows=16)
    batcher.add(Counter("long", 10))
    run(batcher, ticks=4)
    batcher.add(Counter("short", 3))
    assert run(batcher)[0] == ["short", "long"]


@pytest.mark.parametrize("rows", [2, 4, 6])
def test_those_who_do_not_fit_into_a_tick_take_turns(rows: int) -> None:
    batcher = Batcher(Clock(), capacity=8, rows=rows)
    members = [Counter(str(number), 12) for number in range(6)]
    for member in members:
        batcher.add(member)
    for _ in range(30):
        step(batcher)
        progress = [len(member.seen) for member in members]
        assert max(progress) - min(progress) <= 1


@pytest.mark.parametrize("rows", [2, 4, 6, 16])
@pytest.mark.parametrize("late", [0, 7])
def test_nobody_is_the_slower_for_how_much_another_asks_for(rows: int, late: int) -> None:
    batcher = Batcher(Clock(), capacity=16, rows=rows)
    crowd = [Counter(str(number), 50, owner="many") for number in range(12)]
    for member in crowd:
        batcher.add(member)
    for _ in range(late):
        step(batcher)
    alone = Counter("alone", 20, owner="one")
    batcher.add(alone)
    before = sum(len(member.seen) for member in crowd)
    ticks = 0
    while alone.x is None:
        step(batcher)
        ticks += 1
    assert ticks <= (2 * 20 if rows == 2 else 20) + 1
    others = sum(len(member.seen) for member in crowd) - before
    assert others == ticks * (rows // 2) - 20  # the rest of every call is theirs
    progress = [len(member.seen) for member in crowd]
    assert max(progress) - min(progress) <= 1


@pytest.mark.parametrize("order", list(itertools.permutations(["a1", "a2", "b1"])))
@pytest.mark.parametrize("other", [{"groups": frozenset({"tall"})}, {"rows": 8}], ids=["group", "size"])
def test_nobody_starves_while_another_of_the_same_owner_rides_along(order: list[str], other: dict[str, Any]) -> None:
    batcher = Batcher(Clock(), capacity=16, rows=8)
    kinds: dict[str, dict[str, Any]] = {"a1": {"owner": "a"}, "a2": {"owner": "a"} | other, "b1": {"owner": "b"}}
    members = [Counter(name, 1000, **kinds[name]) for name in order]
    for member in members:
        batcher.add(member)
    for _ in range(200):
        step(batcher)
    assert min(len(member.seen) for member in members) >= 95


@pytest.mark.parametrize("rows", [2, 4])
def test_owners_have_equal_shares_whatever_their_requests_are_like(rows: int) -> None:
    batcher = Batcher(Clock(), capacity=16, rows=rows)
    asked = {"a": (1, 1), "b": (3, 50), "c": (10, 2)}  # at a time, and evaluations of each
    shares = dict.fromkeys(asked, 0)
    flying = dict.fromkeys(asked, 0)
    for _ in range(900):
        for owner, (most, length) in asked.items():
            for _ in range(most - flying[owner]):
                batcher.add(Counter(owner, length, owner=owner))
            flying[owner] = most
        tick = step(batcher)
        for member in tick.advanced:
            shares[member.name] += 1
        for member in tick.finished:
            flying[member.name] -= 1
    assert max(shares.values()) - min(shares.values()) <= 2


@pytest.mark.parametrize("other", [{"groups": frozenset({"tall"})}, {}], ids=["group", "same"])
@pytest.mark.parametrize("length", [1000, 3])
def test_owners_share_work_whatever_their_evaluations_cost(other: dict[str, Any], length: int) -> None:
    batcher = Batcher(Clock(), capacity=16, rows=2)
    asked: dict[str, dict[str, Any]] = {"light": {"work": 1.0}, "heavy": {"work": 4.5} | other}
    work = dict.fromkeys(asked, 0.0)
    for owner, kind in asked.items():
        batcher.add(Counter(owner, length, owner=owner, **kind))
    for _ in range(900):
        tick = step(batcher)
        for member in tick.advanced:
            work[member.name] += member.work
        for member in tick.finished:
            batcher.add(Counter(member.name, length, owner=member.name, **asked[member.name]))
    assert abs(work["light"] - work["heavy"]) <= 4.5


@pytest.mark.parametrize("work", [1.0, 100.0])
def test_a_stream_of_new_owners_does_not_starve_one_who_stays(work: float) -> None:
    batcher = Batcher(Clock(), capacity=16, rows=2)
    staying = Counter("staying", 20, owner="staying", work=work)
    batcher.add(staying)
    for number in range(100):
        batcher.add(Counter(str(number), 1, owner=number))
        step(batcher)
    assert len(staying.seen) > 10  # one more waits at each of its turns


def test_a_member_of_two_groups_is_joined_by_members_of_each() -> None:
    clock = Clock()
    batcher = Batcher(clock, capacity=8, rows=8)
    for name, groups in {"whole and crop": {"large", "small"}, "small": {"small"}, "other": {"tall"}}.items():
        batcher.add(Counter(name, 1, groups=frozenset(groups)))
    batcher.admit()
    batcher.tick()
    assert clock.calls == [["whole and crop", "small"]]


def test_groups_take_turns_and_are_never_mixed() -> None:
    clock = Clock()
    batcher = Batcher(clock, capacity=8, rows=16)
    groups = {"a": "wide", "b": "tall", "c": "wide"}
    for name, group in groups.items():
        batcher.add(Counter(name, 4, groups=frozenset({group})))
    assert sorted(run(batcher)[0]) == ["a", "b", "c"]
    assert clock.calls == [["a", "c"], ["b"]] * 4


def test_capacity_counts_pictures_and_keeps_the_order_of_arrival() -> None:
    clock = Clock()
    batcher = Batcher(clock, capacity=3, rows=100)
    for name, pictures in (("two", 2), ("also two", 2), ("one", 1)):
        batcher.add(Counter(name, 2, pictures=pictures))
    run(batcher)
    assert clock.calls[:2] == [["two"], ["two"]]
    assert clock.calls[2] == ["also two", "one"]


def test_a_member_larger_than_the_capacity_runs_alone() -> None:
    clock = Clock()
    batcher = Batcher(clock, capacity=2, rows=4)
    for name, pictures in (("small", 1), ("huge", 9), ("later", 1)):
        batcher.add(Counter(name, 2, pictures=pictures, rows=2 * pictures))
    assert run(batcher)[0] == ["small", "huge", "later"]
    assert all(len(call) == 1 for call in clock.calls)


def test_a_removed_member_frees_its_place_at_the_next_tick() -> None:
    clock = Clock()
    batcher = Batcher(clock, capacity=1, rows=2)
    first, second = Counter("first", 5), Counter("second", 1)
    batcher.add(first)
    batcher.add(second)
    step(batcher)
    assert batcher.remove(first)
    assert first.closed
    step(batcher)
    assert clock.calls[-1] == ["second"]
    assert not batcher.remove(first)


def test_a_member_waiting_for_a_place_can_be_removed() -> None:
    batcher = Batcher(Clock(), capacity=1, rows=2)
    batcher.add(Counter("first", 2))
    waiting = Counter("waiting", 2)
    batcher.add(waiting)
    step(batcher)
    assert batcher.remove(waiting)
    assert run(batcher) == (["first"], [])


def test_a_sampler_that_raises_fails_alone() -> None:
    batcher = Batcher(Clock(), capacity=8, rows=16)
    broken = Counter("broken", 5, raises_at=2)
    for member in (Counter("a", 4), broken, Counter("b", 4)):
        batcher.add(member)
    finished, failed = run(batcher)
    assert (sorted(finished), failed) == (["a", "b"], ["broken"])
    assert broken.closed


def test_an_evaluation_that_raises_for_one_fails_that_one_alone() -> None:
    batcher = Batcher(Clock(poison="c"), capacity=8, rows=16)
    for name in "abcde":
        batcher.add(Counter(name, 3))
    finished, failed = run(batcher)
    assert (sorted(finished), failed) == (["a", "b", "d", "e"], ["c"])


def test_a_batch_that_is_too_large_is_split_and_nobody_fails() -> None:
    batcher = Batcher(Clock(at_most=2), capacity=8, rows=16)
    for name in "abcde":
        batcher.add(Counter(name, 3))
    assert sorted(run(batcher)[0]) == list("abcde")


def test_a_member_that_waits_for_the_device_holds_up_nobody() -> None:
    clock = Clock()
    batcher = Batcher(clock, capacity=8, rows=16)
    slow = Counter("slow", 2, slow=True)
    batcher.add(slow)
    batcher.add(Counter("quick", 3))
    assert run(batcher) == (["quick", "slow"], [])
    assert clock.calls[:3] == [["quick"]] * 3


def test_a_member_with_nothing_to_do_is_finished_at_once() -> None:
    clock = Clock()
    batcher = Batcher(clock, capacity=8, rows=16)
    batcher.add(Counter("done", 0))
    assert run(batcher) == (["done"], [])
    assert clock.calls == []


def test_a_stream_of_short_ones_does_not_starve_a_long_one() -> None:
    batcher = Batcher(Clock(), capacity=8, rows=2)
    long = Counter("long", 20)
    batcher.add(long)
    for number in range(200):
        batcher.add(Counter(str(number), 1))
        step(batcher)
    assert long.x is not None
