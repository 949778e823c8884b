"""The pool's promises, with checkpoints that are strings and loads that the test lets happen."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import BrokenCheckpoint, EngineClosed, OutOfMemory, UnknownCheckpoint
from engine.running.pool import Pool

WAIT = 10


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.safetensors" for name in ("a", "b", "c", "huge", "broken")}
    for name, path in paths.items():
        path.write_text(name[0] * (80 if name == "huge" else 4))
    return paths


class Loads:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def load(self, path: Path) -> str:
        assert self.gate.wait(WAIT)
        self.log.append(path.stem)
        if path.stem == "broken":
            raise BrokenCheckpoint(path, "broken on purpose")
        return path.read_text()


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def pool(loads: Loads) -> Iterator[Pool[str]]:
    """Room for two of the small files."""
    pool = Pool(loads.load, lambda path: path.stat().st_size, budget=9)
    yield pool
    loads.gate.set()
    pool.close()


def use(pool: Pool[str], path: Path) -> str:
    lease = pool.acquire(path)
    (value,) = lease.resident.result(WAIT)
    lease.release()
    return value


def loaders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "checkpoint-loader"]


def test_where_no_thread_can_be_started_the_next_one_is_asked_to_load(
    pool: Pool[str], files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError, match="start new thread"):
            pool.acquire(files["a"])
    assert pool.loading() == []
    assert use(pool, files["a"]) == "aaaa"


def test_the_thread_that_loads_ends_with_its_work(pool: Pool[str], loads: Loads, files: dict[str, Path]) -> None:
    others = set(loaders())
    for _ in range(2):
        loads.gate.clear()
        leases = [pool.acquire(files[name]) for name in "ab"]
        (own,) = set(loaders()) - others
        loads.gate.set()
        own.join(WAIT)
        assert not own.is_alive()
        assert [lease.resident.result(0) for lease in leases] == [("aaaa",), ("bbbb",)]
        for lease in leases:
            lease.release()
        for name in "ab":
            assert pool.let_go(files[name])


def test_a_checkpoint_is_loaded_once(pool: Pool[str], loads: Loads, files: dict[str, Path]) -> None:
    assert [use(pool, files["a"]) for _ in range(3)] == ["aaaa"] * 3
    assert loads.log == ["a"]


def test_the_least_recently_used_goes_first(pool: Pool[str], loads: Loads, files: dict[str, Path]) -> None:
    for name in "abac":
        use(pool, files[name])
    assert pool.resident() == [files["a"], files["c"]]
    use(pool, files["a"])
    assert loads.log == ["a", "b", "c"]


def test_one_in_use_is_never_let_go_of(pool: Pool[str], files: dict[str, Path]) -> None:
    leases = [pool.acquire(files[name]) for name in "ab"]
    for lease in leases:
        lease.resident.result(WAIT)
    third = pool.acquire(files["c"])
    with pytest.raises(TimeoutError):
        third.resident.result(0.1)
    assert pool.resident() == [files["a"], files["b"]]
    leases[1].release()
    assert third.resident.result(WAIT) == ("cccc",)
    assert pool.resident() == [files["a"], files["c"]]


def test_loading_one_does_not_keep_others_waiting(pool: Pool[str], loads: Loads, files: dict[str, Path]) -> None:
    use(pool, files["a"])
    loads.gate.clear()
    loading = pool.acquire(files["b"])
    assert use(pool, files["a"]) == "aaaa"
    assert not loading.resident.done()


def test_one_larger_than_the_budget_is_refused(pool: Pool[str], files: dict[str, Path]) -> None:
    with pytest.raises(OutOfMemory, match="80 bytes"):
        use(pool, files["huge"])


def test_a_load_that_fails_is_tried_again_next_time(pool: Pool[str], loads: Loads, files: dict[str, Path]) -> None:
    for _ in range(2):
        with pytest.raises(BrokenCheckpoint):
            use(pool, files["broken"])
    assert loads.log == ["broken", "broken"]
    assert use(pool, files["a"]) == "aaaa"


def test_a_replaced_file_is_another_checkpoint(pool: Pool[str], files: dict[str, Path]) -> None:
    use(pool, files["a"])
    files["a"].write_text("AAAA")
    os.utime(files["a"], ns=(1, 1))
    assert use(pool, files["a"]) == "AAAA"


def test_a_missing_file_is_unknown(pool: Pool[str], tmp_path: Path) -> None:
    with pytest.raises(UnknownCheckpoint):
        pool.acquire(tmp_path / "nothing.safetensors")


def test_releasing_twice_counts_once(pool: Pool[str], files: dict[str, Path]) -> None:
    first, second = pool.acquire(files["a"]), pool.acquire(files["a"])
    first.resident.result(WAIT)
    first.release()
    first.release()
    use(pool, files["b"])
    third = pool.acquire(files["c"])
    third.resident.result(WAIT)
    assert files["a"] in pool.resident()
    second.release()


def test_closing_fails_those_who_wait_for_room(pool: Pool[str], files: dict[str, Path]) -> None:
    for name in "ab":
        pool.acquire(files[name]).resident.result(WAIT)
    third = pool.acquire(files["c"])
    pool.close()
    with pytest.raises(EngineClosed):
        third.resident.result(WAIT)
    with pytest.raises(EngineClosed):
        pool.acquire(files["a"])


def test_a_load_that_nobody_waits_for_any_more_keeps_nobody_waiting(
    pool: Pool[str], loads: Loads, files: dict[str, Path]
) -> None:
    busy = pool.acquire(files["a"])
    busy.resident.result(WAIT)
    large = files["b"].parent / "large.safetensors"
    large.write_text("l" * 8)
    given_up = pool.acquire(large)
    with pytest.raises(TimeoutError):
        given_up.resident.result(0.1)
    given_up.release()
    assert use(pool, files["c"]) == "cccc"
    assert "large" not in loads.log


def test_one_always_in_use_does_not_keep_another_out(pool: Pool[str], files: dict[str, Path]) -> None:
    large = files["b"].parent / "large.safetensors"
    large.write_text("l" * 8)
    first = pool.acquire(files["a"])
    first.resident.result(WAIT)
    waiting = pool.acquire(large)
    with pytest.raises(TimeoutError):
        waiting.resident.result(0.1)
    second = pool.acquire(files["a"])  # queues behind the one that waits
    first.release()
    assert waiting.resident.result(WAIT) == ("l" * 8,)
    waiting.release()
    assert second.resident.result(WAIT) == ("aaaa",)


def test_a_checkpoint_is_let_go_on_demand(pool: Pool[str], files: dict[str, Path], loads: Loads) -> None:
    use(pool, files["a"])
    assert pool.let_go(files["a"])
    assert pool.resident() == []
    assert not pool.let_go(files["a"])
    use(pool, files["a"])
    assert loads.log == ["a", "a"]


def test_one_in_use_goes_when_nobody_uses_it_any_more(pool: Pool[str], files: dict[str, Path], loads: Loads) -> None:
    lease = pool.acquire(files["a"])
    lease.resident.result(WAIT)
    assert pool.let_go(files["a"])
    assert pool.resident() == [files["a"]]
    use(pool, files["a"])  # who comes now has another one loaded
    assert loads.log == ["a", "a"]
    lease.release()
    assert pool.resident() == [files["a"]]
    pool.let_go(files["a"])
    assert pool.resident() == []


def test_what_is_being_loaded_is_told(pool: Pool[str], files: dict[str, Path], loads: Loads) -> None:
    loads.gate.clear()
    lease = pool.acquire(files["a"])
    assert (pool.loading(), pool.resident()) == ([files["a"]], [])
    assert not pool.let_go(files["a"])  # it is not there yet
    loads.gate.set()
    lease.resident.result(WAIT)
    assert (pool.loading(), pool.resident()) == ([], [files["a"]])


def test_several_are_had_together(pool: Pool[str], loads: Loads, files: dict[str, Path]) -> None:
    lease = pool.acquire(files["b"], files["a"])
    assert lease.waits
    assert lease.resident.result(WAIT) == ("bbbb", "aaaa")
    third = pool.acquire(files["c"])
    with pytest.raises(TimeoutError):
        third.resident.result(0.1)
    lease.release()
    assert third.resident.result(WAIT) == ("cccc",)
    assert not pool.acquire(files["c"]).waits


def test_leases_of_several_do_not_wait_for_each_other(pool: Pool[str], files: dict[str, Path]) -> None:
    pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "b"), ("c", "b")]
    leases = [pool.acquire(*(files[name] for name in pair)) for pair in pairs]
    for lease, pair in zip(leases, pairs, strict=True):
        assert lease.resident.result(WAIT) == tuple(name * 4 for name in pair)
        lease.release()


def test_several_that_exceed_the_budget_together_are_refused(pool: Pool[str], files: dict[str, Path]) -> None:
    with pytest.raises(OutOfMemory, match="12 bytes together"):
        pool.acquire(files["a"], files["b"], files["c"]).resident.result(WAIT)
    assert use(pool, files["a"]) == "aaaa"


def test_one_that_fails_fails_the_lease_of_several(pool: Pool[str], files: dict[str, Path]) -> None:
    lease = pool.acquire(files["a"], files["broken"])
    with pytest.raises(BrokenCheckpoint):
        lease.resident.result(WAIT)
    lease.release()
    assert use(pool, files["c"]) == "cccc"


def test_a_lease_of_several_that_is_given_up_keeps_nothing(
    pool: Pool[str], loads: Loads, files: dict[str, Path]
) -> None:
    loads.gate.clear()
    first, given_up = pool.acquire(files["c"]), pool.acquire(files["a"], files["b"])
    given_up.release()
    loads.gate.set()
    assert first.resident.result(WAIT) == ("cccc",)
    with pytest.raises(EngineClosed):
        given_up.resident.result(WAIT)
    assert pool.resident() == [files["c"]]


def test_closing_ends_leases_of_several_that_wait(pool: Pool[str], loads: Loads, files: dict[str, Path]) -> None:
    loads.gate.clear()
    first, waiting = pool.acquire(files["c"]), pool.acquire(files["a"], files["b"])
    closer = threading.Thread(target=pool.close)
    closer.start()
    loads.gate.set()
    closer.join(WAIT)
    assert first.resident.done()
    with pytest.raises(EngineClosed):
        waiting.resident.result(WAIT)
