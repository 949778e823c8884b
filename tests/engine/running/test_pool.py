"""The pool's promises, with things that are strings, made from files as the test lets that happen."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import BrokenCheckpoint, EngineClosed, OutOfMemory
from engine.running.pool import Lease, Pool
from engine.running.sources import Source, Stamp

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

    def make(self, source: Source, bases: tuple[str, ...]) -> str:
        assert self.gate.wait(WAIT)
        path = source.stamps[0].path
        self.log.append(path.stem)
        if path.stem == "broken":
            raise BrokenCheckpoint(path, "broken on purpose")
        return "".join([path.read_text(), *(f" on {base}" for base in bases)])


class Files:
    """A pool that is asked for files by their paths."""

    def __init__(self, pool: Pool[str]) -> None:
        self.pool = pool

    def acquire(self, *paths: Path) -> Lease[str]:
        return self.pool.acquire(*map(source, paths))

    def resident(self) -> list[Path]:
        return [each.stamps[0].path for each in self.pool.resident()]

    def loading(self) -> list[Path]:
        return [each.stamps[0].path for each in self.pool.making()]

    def let_go(self, path: Path) -> bool:
        return self.pool.let_go(path)

    def close(self) -> None:
        self.pool.close()


def source(path: Path, *bases: Source) -> Source:
    """The thing in ``path``, which shares tensors with ``bases``."""
    status = path.stat()
    stamp = Stamp(path.resolve(), status.st_mtime_ns, status.st_size)
    return Source(path.resolve(), (stamp, *(each for base in bases for each in base.stamps)), bases)


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def pool(loads: Loads) -> Iterator[Files]:
    """Room for two of the small files."""
    pool = Pool(loads.make, lambda source: source.stamps[0].size, budget=9)
    yield Files(pool)
    loads.gate.set()
    pool.close()


def use(pool: Files, path: Path) -> str:
    lease = pool.acquire(path)
    (value,) = lease.resident.result(WAIT)
    lease.release()
    return value


def loaders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "checkpoint-loader"]


def test_where_no_thread_can_be_started_the_next_one_is_asked_to_load(
    pool: Files, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError, match="start new thread"):
            pool.acquire(files["a"])
    assert pool.loading() == []
    assert use(pool, files["a"]) == "aaaa"


def test_the_thread_that_loads_ends_with_its_work(pool: Files, loads: Loads, files: dict[str, Path]) -> None:
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


def test_a_checkpoint_is_loaded_once(pool: Files, loads: Loads, files: dict[str, Path]) -> None:
    assert [use(pool, files["a"]) for _ in range(3)] == ["aaaa"] * 3
    assert loads.log == ["a"]


def test_the_least_recently_used_goes_first(pool: Files, loads: Loads, files: dict[str, Path]) -> None:
    for name in "abac":
        use(pool, files[name])
    assert pool.resident() == [files["a"], files["c"]]
    use(pool, files["a"])
    assert loads.log == ["a", "b", "c"]


def test_one_in_use_is_never_let_go_of(pool: Files, files: dict[str, Path]) -> None:
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


def test_loading_one_does_not_keep_others_waiting(pool: Files, loads: Loads, files: dict[str, Path]) -> None:
    use(pool, files["a"])
    loads.gate.clear()
    loading = pool.acquire(files["b"])
    assert use(pool, files["a"]) == "aaaa"
    assert not loading.resident.done()


def test_one_larger_than_the_budget_is_refused(pool: Files, files: dict[str, Path]) -> None:
    with pytest.raises(OutOfMemory, match="80 bytes"):
        use(pool, files["huge"])


def test_a_load_that_fails_is_tried_again_next_time(pool: Files, loads: Loads, files: dict[str, Path]) -> None:
    for _ in range(2):
        with pytest.raises(BrokenCheckpoint):
            use(pool, files["broken"])
    assert loads.log == ["broken", "broken"]
    assert use(pool, files["a"]) == "aaaa"


def test_a_replaced_file_is_another_checkpoint(pool: Files, files: dict[str, Path]) -> None:
    use(pool, files["a"])
    files["a"].write_text("AAAA")
    os.utime(files["a"], ns=(1, 1))
    assert use(pool, files["a"]) == "AAAA"


def test_releasing_twice_counts_once(pool: Files, files: dict[str, Path]) -> None:
    first, second = pool.acquire(files["a"]), pool.acquire(files["a"])
    first.resident.result(WAIT)
    first.release()
    first.release()
    use(pool, files["b"])
    third = pool.acquire(files["c"])
    third.resident.result(WAIT)
    assert files["a"] in pool.resident()
    second.release()


def test_closing_fails_those_who_wait_for_room(pool: Files, files: dict[str, Path]) -> None:
    for name in "ab":
        pool.acquire(files[name]).resident.result(WAIT)
    third = pool.acquire(files["c"])
    pool.close()
    with pytest.raises(EngineClosed):
        third.resident.result(WAIT)
    with pytest.raises(EngineClosed):
        pool.acquire(files["a"])


def test_a_load_that_nobody_waits_for_any_more_keeps_nobody_waiting(
    pool: Files, loads: Loads, files: dict[str, Path]
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


def test_one_always_in_use_does_not_keep_another_out(pool: Files, files: dict[str, Path]) -> None:
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


def test_a_checkpoint_is_let_go_on_demand(pool: Files, files: dict[str, Path], loads: Loads) -> None:
    use(pool, files["a"])
    assert pool.let_go(files["a"])
    assert pool.resident() == []
    assert not pool.let_go(files["a"])
    use(pool, files["a"])
    assert loads.log == ["a", "a"]


def test_one_in_use_goes_when_nobody_uses_it_any_more(pool: Files, files: dict[str, Path], loads: Loads) -> None:
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


def test_what_is_being_loaded_is_told(pool: Files, files: dict[str, Path], loads: Loads) -> None:
    loads.gate.clear()
    lease = pool.acquire(files["a"])
    assert (pool.loading(), pool.resident()) == ([files["a"]], [])
    assert not pool.let_go(files["a"])  # it is not there yet
    loads.gate.set()
    lease.resident.result(WAIT)
    assert (pool.loading(), pool.resident()) == ([], [files["a"]])


def test_several_are_had_together(pool: Files, loads: Loads, files: dict[str, Path]) -> None:
    lease = pool.acquire(files["b"], files["a"])
    assert lease.waits
    assert lease.resident.result(WAIT) == ("bbbb", "aaaa")
    third = pool.acquire(files["c"])
    with pytest.raises(TimeoutError):
        third.resident.result(0.1)
    lease.release()
    assert third.resident.result(WAIT) == ("cccc",)
    assert not pool.acquire(files["c"]).waits


def test_leases_of_several_do_not_wait_for_each_other(pool: Files, files: dict[str, Path]) -> None:
    pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "b"), ("c", "b")]
    leases = [pool.acquire(*(files[name] for name in pair)) for pair in pairs]
    for lease in leases:  # each goes when it is done, whatever the others do
        lease.resident.add_done_callback(lambda _, lease=lease: threading.Thread(target=lease.release).start())
    for lease, pair in zip(leases, pairs, strict=True):
        assert lease.resident.result(WAIT) == tuple(name * 4 for name in pair)


def test_several_that_exceed_the_budget_together_are_refused(pool: Files, files: dict[str, Path]) -> None:
    with pytest.raises(OutOfMemory, match="12 bytes together"):
        pool.acquire(files["a"], files["b"], files["c"]).resident.result(WAIT)
    assert use(pool, files["a"]) == "aaaa"


def test_one_that_fails_fails_the_lease_of_several(pool: Files, files: dict[str, Path]) -> None:
    lease = pool.acquire(files["a"], files["broken"])
    with pytest.raises(BrokenCheckpoint):
        lease.resident.result(WAIT)
    lease.release()
    assert use(pool, files["c"]) == "cccc"


def test_a_lease_of_several_that_is_given_up_keeps_nothing(pool: Files, loads: Loads, files: dict[str, Path]) -> None:
    loads.gate.clear()
    first, given_up = pool.acquire(files["c"]), pool.acquire(files["a"], files["b"])
    given_up.release()
    loads.gate.set()
    assert first.resident.result(WAIT) == ("cccc",)
    with pytest.raises(EngineClosed):
        given_up.resident.result(WAIT)
    assert pool.resident() == [files["c"]]


def test_closing_ends_leases_of_several_that_wait(pool: Files, loads: Loads, files: dict[str, Path]) -> None:
    loads.gate.clear()
    first, waiting = pool.acquire(files["c"]), pool.acquire(files["a"], files["b"])
    closer = threading.Thread(target=pool.close)
    closer.start()
    loads.gate.set()
    closer.join(WAIT)
    assert first.resident.done()
    with pytest.raises(EngineClosed):
        waiting.resident.result(WAIT)


def variant(path: Path, base: Path) -> Source:
    return source(path, source(base))


def use_variant(pool: Files, path: Path, base: Path) -> str:
    lease = pool.pool.acquire(variant(path, base))
    (value,) = lease.resident.result(WAIT)
    lease.release()
    return value


def test_a_variant_has_its_base_made_and_kept(pool: Files, loads: Loads, files: dict[str, Path]) -> None:
    assert use_variant(pool, files["a"], files["b"]) == "aaaa on bbbb"
    assert loads.log == ["b", "a"]
    assert use(pool, files["b"]) == "bbbb"
    assert loads.log == ["b", "a"]


def test_a_variant_goes_before_its_base_however_lately_it_was_used(
    pool: Files, loads: Loads, files: dict[str, Path]
) -> None:
    use_variant(pool, files["a"], files["b"])
    use(pool, files["c"])
    assert pool.resident() == [files["b"], files["c"]]
    assert use(pool, files["b"]) == "bbbb"
    assert loads.log == ["b", "a", "c"]


def test_letting_a_file_go_lets_go_of_all_that_is_made_from_it(pool: Files, files: dict[str, Path]) -> None:
    use_variant(pool, files["a"], files["b"])
    assert pool.let_go(files["a"])
    assert pool.resident() == [files["b"]]
    use_variant(pool, files["a"], files["b"])
    assert pool.let_go(files["b"])
    assert pool.resident() == []


def test_a_base_in_use_by_a_variant_is_not_let_go_of(pool: Files, files: dict[str, Path]) -> None:
    lease = pool.pool.acquire(variant(files["a"], files["b"]))
    lease.resident.result(WAIT)
    third = pool.acquire(files["c"])
    with pytest.raises(TimeoutError):
        third.resident.result(0.1)
    lease.release()
    assert third.resident.result(WAIT) == ("cccc",)


def test_a_variant_and_its_base_that_exceed_the_budget_are_refused(
    pool: Files, files: dict[str, Path], loads: Loads
) -> None:
    large = files["b"].parent / "large.safetensors"
    large.write_text("l" * 8)
    with pytest.raises(OutOfMemory, match="12 bytes together"):
        use_variant(pool, files["a"], large)
    assert loads.log == []


def test_what_is_resident_is_leased_at_once_while_something_is_made(files: dict[str, Path], loads: Loads) -> None:
    roomy = Files(Pool(loads.make, lambda source: source.stamps[0].size, budget=20))
    use_variant(roomy, files["a"], files["b"])
    loads.gate.clear()
    making = roomy.acquire(files["c"])
    lease = roomy.pool.acquire(variant(files["a"], files["b"]))
    assert not lease.waits
    assert lease.resident.result(0) == ("aaaa on bbbb",)
    assert not making.resident.done()
    loads.gate.set()
    roomy.close()


def test_all_who_wait_for_what_cannot_be_made_are_failed_by_one_try(
    pool: Files, files: dict[str, Path], loads: Loads
) -> None:
    loads.gate.clear()
    leases = [pool.acquire(files["broken"]) for _ in range(3)]
    loads.gate.set()
    for lease in leases:
        with pytest.raises(BrokenCheckpoint):
            lease.resident.result(WAIT)
    assert loads.log == ["broken"]


def test_nothing_is_leased_at_once(pool: Files) -> None:
    lease = pool.acquire()
    assert (lease.waits, lease.resident.result(0)) == (False, ())
