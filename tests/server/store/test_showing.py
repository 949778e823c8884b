"""Every store shows what a running attempt has made, and lets an interrupted job keep that, but no other attempt's."""

from __future__ import annotations

import dataclasses

import pytest

from server.job import Job, Picture, Webhook
from server.store import Ending, Made, Store
from tests.server.stores import SUCCESS, Kept, add, again, claim, job, posted

pytestmark = pytest.mark.anyio

HOOK = Webhook(url="http://e.org", events=("output", "finished"))


def made(*names: str) -> Made:
    pictures = [
        Picture(name=name, width=8, height=8, seed=2**64 - 1, request=n, index=0) for n, name in enumerate(names)
    ]
    return Made(pictures=tuple(pictures), timings={"sample": 0.5 * len(names)}, record={"device": "none"})


def shown(one: Job | None) -> Made:
    assert one is not None
    return Made(pictures=one.pictures, timings=one.timings, record=one.record)


async def started(store: Store) -> Job:
    """Accept a job and start it."""
    await add(store, job(webhook=HOOK))
    (one,) = await claim(store)
    return one


async def test_what_is_made_by_now_is_shown_and_changes_no_state(store: Store) -> None:
    one = await started(store)
    for names in (("b.png",), ("a.png", "b.png")):
        kept = await store.show(one.id, 1, made(*names))
        assert kept == dataclasses.replace(one, **vars(made(*names)))
        assert await store.get(one.id) == kept
    assert await store.kept_pictures([one.token]) == {one.token: {"a.png", "b.png"}}
    assert await posted(store) == []


async def test_only_the_running_attempt_shows_anything(store: Store) -> None:
    one = await started(store)
    assert await store.show(one.id, 2, made("a.png")) is None
    assert await store.show("unknown", 1, made("a.png")) is None
    await store.finish(one.id, 1, SUCCESS)
    assert await store.show(one.id, 1, made("a.png")) is None
    assert shown(await store.get(one.id)) == Made()


@pytest.mark.parametrize("state", ["succeeded", "failed"])
async def test_the_end_replaces_what_was_shown(store: Store, state: str) -> None:
    one = await started(store)
    await store.show(one.id, 1, made("a.png"))
    rest = vars(made("a.png", "b.png")) if state == "succeeded" else {}
    ended = await store.finish(one.id, 1, Ending(state=state, finished=5.0, **rest))  # type: ignore[arg-type]
    assert shown(ended) == (made("a.png", "b.png") if state == "succeeded" else Made())


async def test_a_dead_attempts_pictures_are_not_shown_any_more(kept: Kept) -> None:
    async with kept.opened() as store:
        one = await started(store)
        await store.show(one.id, 1, made("a.png"))
        requeued = await again(store, one)
        assert shown(requeued) == Made()
        await claim(store)
        await store.show(one.id, 2, made("b.png"))
    async with kept.opened() as store:
        (recovered,) = (await store.recover(max_attempts=9, now=6.0)).queued
        assert (recovered.state, shown(recovered)) == ("queued", Made())
        assert await store.kept_pictures([one.token]) == {one.token: frozenset()}


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("names", [(), ("a.png", "b.png")])
async def test_an_interrupted_job_ends_with_what_it_shows(kept: Kept, names: tuple[str, ...], crashes: bool) -> None:
    async with kept.opened() as store:
        one = await started(store)
        await store.show(one.id, 1, made(*names))
        asked = await store.cancel(one.id, 3.0, keep=True)
        assert asked is not None
        assert (asked.state, asked.interrupted, asked.cancel_requested) == ("running", True, False)
        ended = None if crashes else await again(store, one)
    async with kept.opened() as store:
        recovered = await store.recover(max_attempts=9, now=3.0)
        assert recovered.queued == []
        if crashes:
            (ended,) = recovered.ended
        assert ended is not None
        assert (ended.state, ended.finished, ended.failure) == ("succeeded" if names else "cancelled", 3.0, None)
        assert shown(ended) == made(*names)
        assert await store.cancel(one.id, 4.0) == ended
        reports = {"output succeeded 1", "finished succeeded 1"} if names else {"finished cancelled 1"}
        assert {each.body for each in await posted(store)} == reports


async def test_an_interrupted_job_that_ends_by_itself_has_all_its_pictures(store: Store) -> None:
    one = await started(store)
    await store.show(one.id, 1, made("a.png"))
    await store.cancel(one.id, 3.0, keep=True)
    ended = await store.finish(one.id, 1, Ending(state="succeeded", finished=5.0, **vars(made("a.png", "b.png"))))
    assert ended is not None
    assert (ended.state, shown(ended)) == ("succeeded", made("a.png", "b.png"))


@pytest.mark.parametrize("first", [False, True])
async def test_cancelling_wins_over_interrupting(store: Store, first: bool) -> None:
    one = await started(store)
    await store.show(one.id, 1, made("a.png"))
    for keep in (first, not first):
        await store.cancel(one.id, 3.0, keep=keep)
    ended = await again(store, one)
    assert ended is not None
    assert (ended.state, shown(ended)) == ("cancelled", Made())


async def test_a_queued_job_that_is_interrupted_is_cancelled(store: Store) -> None:
    one = await add(store)
    ended = await store.cancel(one.id, 3.0, keep=True)
    assert ended is not None
    assert (ended.state, ended.interrupted, ended.finished) == ("cancelled", True, 3.0)
    assert await claim(store) == []


async def test_one_picture_is_taken_out_of_a_finished_job(store: Store) -> None:
    one = await started(store)
    await store.show(one.id, 1, made("a.png", "b.png"))
    assert await store.drop_picture(one.id, "a.png") is None
    ended = await store.finish(one.id, 1, Ending(state="succeeded", finished=5.0, **vars(made("a.png", "b.png"))))
    assert ended is not None
    assert await store.drop_picture(one.id, "c.png") is None
    assert await store.drop_picture("unknown", "a.png") is None
    left = await store.drop_picture(one.id, "a.png")
    assert left == await store.get(one.id) == dataclasses.replace(ended, pictures=ended.pictures[1:])
    assert await store.kept_pictures([one.token]) == {one.token: {"b.png"}}
