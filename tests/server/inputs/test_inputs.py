"""Tests how pictures that callers hand in are kept, for how long, and that jobs get them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine import BadRequest, Workflow
from server.backends.instant import InstantBackend
from server.inputs.input import Input
from server.job import Job, NewJob
from server.problems import Problem
from server.store import Search
from tests.server.queues import Queue, queue, request, until
from tests.server.receiver import answering, receiving

pytestmark = pytest.mark.anyio


def png(colour: str = "red", size: tuple[int, int] = (64, 64)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def graph(name: str) -> Workflow:
    """A graph that does nothing but save the picture that was handed in as ``name``."""
    return Workflow.from_comfyui(
        {
            "1": {"class_type": "LoadImage", "inputs": {"image": name}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        }
    )


async def kept(own: Queue, data: bytes = b"", client: str = "ann", **named: str) -> Input:
    return await own.jobs.inputs.keep(data or png(), client, field="image", **named)


async def from_picture(own: Queue, one: Input, **named: Any) -> Job:
    return await own.submit(request(image=one.id, denoise=0.5), inputs={one.id: one}, **named)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "inputs").iterdir())


async def test_a_picture_is_kept_by_its_digest_as_it_came(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        one, again = await kept(own), await kept(own)
        assert one.id == again.id == hashlib.sha256(png()).hexdigest()
        assert (one.size.width, one.size.height, one.bytes) == (64, 64, len(png()))
        assert await own.jobs.inputs.read(one) == png()
        assert files(tmp_path) == [one.file]


async def test_a_request_and_a_graph_get_their_pictures(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        one, other = await kept(own), await kept(own, png("blue"))
        first = await own.end(await from_picture(own, one))
        assert first.state == "succeeded"
        drawn = await own.end(await own.jobs.accept(new_graph(graph("a.png"), {"a.png": other})))
        assert (drawn.state, drawn.pictures[0].width) == ("succeeded", 64)
        same = await own.end(await from_picture(own, await kept(own)))
        third = await own.end(await from_picture(own, await kept(own, png("green"))))
        seen = [await own.outputs.read(job.pictures[0].name) for job in (first, same, third)]
        shown = [Image.open(io.BytesIO(each)).getpixel((0, 0)) for each in seen]
        assert shown[0] == shown[1] != shown[2]


def new_graph(workflow: Workflow, inputs: dict[str, Input]) -> NewJob:
    return NewJob(wanted=(workflow,), dialect="comfyui", client="ann", inputs=inputs)


async def test_deleting_the_last_job_deletes_the_picture(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        one, other = await kept(own), await kept(own, png("blue"))
        jobs = [await from_picture(own, one), await from_picture(own, await kept(own)), await from_picture(own, other)]
        for job in jobs:
            await own.end(job)
        await own.jobs.forget([jobs[0].id])
        assert files(tmp_path) == sorted([one.file, other.file])
        await own.jobs.forget([jobs[1].id])
        assert files(tmp_path) == [other.file]
        with pytest.raises(Problem, match="no input"):
            await own.jobs.inputs.read(one)
        await own.jobs.forget([jobs[2].id])
        assert files(tmp_path) == []


async def test_a_job_that_a_crash_interrupted_has_its_picture(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=3600)) as own:
        job = await from_picture(own, await kept(own))
        await until(lambda: own.backend.started)
        await own.crash()
    async with queue(tmp_path) as own:
        assert (await own.end(job)).state == "succeeded"


async def test_an_upload_outlives_the_jobs_with_it_until_it_is_released(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        one = await kept(own, owner="ann", name="cat.png")
        ended = await own.end(await from_picture(own, one))
        await own.jobs.forget([ended.id])
        assert {name: each.id for name, each in (await own.jobs.inputs.named("ann")).items()} == {"cat.png": one.id}
        assert await own.jobs.inputs.named("ben") == {}
        assert await own.jobs.inputs.release("ann", "cat.png")
        assert files(tmp_path) == []


async def test_a_refused_call_leaves_nothing(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        one = await kept(own)
        with pytest.raises(Problem):
            await from_picture(own, one, priority=99)
        await own.jobs.tidy()
        assert files(tmp_path) == []
        assert (await own.jobs.find(Search())).total == 0


async def test_a_call_whose_key_came_before_holds_nothing(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        first = await own.end(await from_picture(own, await kept(own), idempotency_key="k", asked="x"))
        again = await from_picture(own, await kept(own), idempotency_key="k", asked="x")
        assert again.id == first.id
        await own.jobs.forget([first.id])
        assert files(tmp_path) == []


@pytest.mark.parametrize("name", ["f" * 64, "cat.png"])
async def test_a_picture_that_is_not_there_is_refused_by_the_field(tmp_path: Path, name: str) -> None:
    async with queue(tmp_path) as own:
        with pytest.raises(BadRequest) as caught:
            await own.submit(request(image=name))
        assert (caught.value.field, caught.value.value) == ("image", name)
        with pytest.raises(BadRequest, match=r"node 1 \(LoadImage\)"):
            await own.jobs.accept(new_graph(graph(name), {}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "whole picture"),
        (b"hello", "whole picture"),
        (png()[:60], "whole picture"),
        (png(size=(64, 65)), "MAX_INPUT_PIXELS"),
        (png() + b" " * 2000, "MAX_INPUT_BYTES"),
    ],
)
async def test_what_is_no_picture_or_too_large_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    async with queue(tmp_path, max_input_pixels=64 * 64, max_input_bytes=1024) as own:
        with pytest.raises(Problem, match=reason) as caught:
            await own.jobs.inputs.keep(data, "ann", field="mask")
        assert (caught.value.status, caught.value.field) == (400, "mask")
        assert not (tmp_path / "inputs").exists()


async def test_a_client_has_a_quota_of_bytes_and_a_job_one_of_pictures(tmp_path: Path) -> None:
    async with queue(tmp_path, input_quota=1100, max_inputs=1) as own:
        first = await kept(own, png() + bytes(1000 - len(png())))
        with pytest.raises(Problem) as caught:
            await kept(own, png("blue") + bytes(100))
        assert (caught.value.status, caught.value.kind) == (429, "quota_exceeded")
        assert files(tmp_path) == [first.file]
        other = await kept(own, client="ben")
        blue = await kept(own, png("blue"), client="ben")
        with pytest.raises(Problem, match="at most 1"):
            await own.submit(request(image=other.id), request(image=blue.id))


async def test_texts_are_base64_ids_and_where_allowed_urls(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        inputs = own.jobs.inputs
        one = await inputs.keep_text(base64.b64encode(png()).decode(), "ann", field="image")
        assert (await inputs.keep_text(one.id, "ben", field="image")).id == one.id
        with pytest.raises(Problem, match="handed in"):
            await inputs.keep_text("0" * 64, "ben", field="image")
        with receiving() as receiver:
            with pytest.raises(Problem, match="SD_INPUT_URLS"):
                await inputs.keep_text(f"{receiver.url}/a.png", "ann", field="image")
            assert receiver.calls == []
    async with queue(tmp_path, input_urls=True) as own:
        with receiving() as receiver:
            receiver.script.append(answering(png("blue")))
            fetched = await own.jobs.inputs.keep_text(f"{receiver.url}/a.png", "ann", field="image")
            assert await own.jobs.inputs.read(fetched) == png("blue")


async def test_files_that_a_crash_left_without_a_row_go_and_others_stay(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        one = await kept(own)
        identity, id, _, token = one.file.split("-")
    left, young = f"{identity}-{id}-1-{token}", f"{identity}-{'0' * 64}-{2**40:x}-{token}"
    foreign = [f"{'0' * 16}-{id}-1-{token}", "holiday.png"]
    for name in (left, young, *foreign):
        (tmp_path / "inputs" / name).write_bytes(b"")
    async with queue(tmp_path):
        pass
    assert files(tmp_path) == sorted([one.file, young, *foreign])


async def test_many_calls_with_the_same_picture_keep_one_file(tmp_path: Path) -> None:
    async with queue(tmp_path, backend=InstantBackend(step_seconds=0.001)) as own:

        async def call(number: int) -> None:
            job = await own.end(await from_picture(own, await kept(own), client=f"c{number}"))
            assert job.state == "succeeded"
            await own.jobs.forget([job.id])

        await asyncio.gather(*(call(number) for number in range(20)))
        assert files(tmp_path) == []
