"""Tests what every store promises of the pictures that callers hand in."""

from __future__ import annotations

import dataclasses

import pytest

from engine.workflow.sizes import PictureSize
from server.inputs.input import CALL, Hold, Input
from server.job import Job
from server.store import InputGone, QuotaExceeded, Search, Store
from tests.server.stores import SUCCESS, Kept, add, claim, job

pytestmark = pytest.mark.anyio

SIZE = PictureSize(pictures=1, height=64, width=96, alpha=True)


def picture(letter: str, *, owner: str = CALL, name: str = "call", since: float = 10.0, file: str = "") -> Input:
    hold = Hold(owner=owner, name=name, since=since)
    return Input(id=letter * 64, file=file or f"file-{letter}", bytes=100, size=SIZE, hold=hold)


def job_with(*inputs: Input) -> Job:
    plain = job()
    named = {f"{number}.png": each for number, each in enumerate(inputs)}
    return dataclasses.replace(plain, tasks=(dataclasses.replace(plain.tasks[0], inputs=named),))


async def finished(store: Store, accepted: Job) -> None:
    await claim(store)
    await store.finish(accepted.id, 1, SUCCESS)


async def taken(
    store: Store, calls_before: float = 5.0, uploads_before: float | None = None, limit: int = 100
) -> list[str]:
    unused = await store.take_unused_inputs(calls_before=calls_before, uploads_before=uploads_before, limit=limit)
    return [each.id[0] for each in unused]


async def test_a_store_has_an_identity_of_its_own(kept: Kept) -> None:
    async with kept.opened() as store:
        first = await store.identity()
        assert len(first) == 16
        assert int(first, 16) >= 0
    async with kept.opened() as store:
        assert await store.identity() == first


async def test_an_input_is_kept_once_and_counts_for_the_first_client(store: Store) -> None:
    first = await store.keep_input(picture("a"), "ann", quota=150)
    again = await store.keep_input(picture("a", name="other", file="second"), "ben", quota=150)
    assert (first.file, again.file, again.size) == ("file-a", "file-a", SIZE)
    with pytest.raises(QuotaExceeded):
        await store.keep_input(picture("b"), "ann", quota=150)
    await store.keep_input(picture("b"), "ben", quota=150)
    await store.keep_input(picture("c"), "ben", quota=None)
    assert set(await store.inputs(["a" * 64, "b" * 64, "d" * 64])) == {"a" * 64, "b" * 64}


async def test_what_nothing_holds_can_go_and_goes_once(store: Store) -> None:
    await store.keep_input(picture("a", name="1", since=4.0), "ann", quota=None)
    await store.keep_input(picture("b", name="2", since=6.0), "ann", quota=None)
    await store.keep_input(picture("c", name="3", since=4.0), "ann", quota=None)
    assert await taken(store, limit=1) == ["a"]
    assert await taken(store) == ["c"]
    assert await taken(store) == []
    assert await taken(store, 7.0) == ["b"]
    with pytest.raises(InputGone):
        await store.hold_input("b" * 64, Hold(owner="ann", name="b", since=9.0))


async def test_a_job_takes_its_inputs_over_and_leaves_them_when_it_is_deleted(store: Store) -> None:
    kept = await store.keep_input(picture("a"), "ann", quota=None)
    shared = await store.keep_input(picture("b", name="second"), "ann", quota=None)
    first = await add(store, job_with(kept, shared))
    second = await add(store, job_with(dataclasses.replace(shared, hold=None)))
    assert await taken(store) == []
    assert (await store.get(first.id)) is not None
    read = (await claim(store))[0].tasks[0].inputs
    assert (read["0.png"].id, read["0.png"].size) == (kept.id, SIZE)
    await store.finish(first.id, 1, SUCCESS)
    await store.delete([first.id, second.id])  # the second one has not ended, and stays
    assert await taken(store) == ["a"]
    await finished(store, second)
    await store.delete([second.id])
    assert await taken(store) == ["b"]


async def test_a_refused_job_takes_nothing(store: Store) -> None:
    kept = await store.keep_input(picture("a"), "ann", quota=None)
    gone = picture("b")
    with pytest.raises(InputGone):
        await add(store, job_with(kept, gone))
    assert (await store.find(Search())).total == 0
    assert await taken(store) == []  # the call still holds it
    assert await taken(store, 11.0) == ["a"]


async def test_an_upload_has_a_name_until_it_is_released(store: Store) -> None:
    await store.keep_input(picture("a", owner="ann", name="cat.png"), "ann", quota=None)
    await store.keep_input(picture("b", owner="ann", name="an.png"), "ann", quota=None)
    await store.keep_input(picture("c", owner="ben", name="cat.png"), "ben", quota=None)
    assert {name: each.id[0] for name, each in (await store.held_inputs("ann")).items()} == {
        "an.png": "b",
        "cat.png": "a",
    }
    assert list(await store.held_inputs("ann")) == ["an.png", "cat.png"]
    moved = await store.hold_input("b" * 64, Hold(owner="ann", name="cat.png", since=10.0))
    assert moved.id == "b" * 64
    assert await taken(store) == ["a"]
    assert await store.release_input("ann", "cat.png")
    assert not await store.release_input("ann", "cat.png")
    assert await taken(store) == []
    assert await store.release_input("ann", "an.png")
    assert await taken(store) == ["b"]


async def test_an_upload_ends_with_its_time_if_it_has_one(store: Store) -> None:
    await store.keep_input(picture("a", owner="ann", name="a", since=1.0), "ann", quota=None)
    await store.keep_input(picture("b", owner="ann", name="b", since=3.0), "ann", quota=None)
    assert await taken(store, 9.0) == []
    assert await taken(store, 9.0, 2.0) == ["a"]
    assert list(await store.held_inputs("ann")) == ["b"]
