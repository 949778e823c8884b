"""Tests OpenAI's streamed answers, and callers who hang up."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.server.conftest import RunningServer
from tests.server.dialects.openai.client import picture
from tests.server.following import all_jobs, hang_up_on, post, wait_for


async def hang_up(server: RunningServer, **settings: Any) -> None:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        await hang_up_on(server, client.images.generate(prompt="a", **settings))


@pytest.mark.anyio
async def test_hanging_up_cancels(server: RunningServer) -> None:
    server.backend.step_seconds = 3600.0
    await hang_up(server)
    wait_for(lambda: [job.state for job in all_jobs(server)] == ["cancelled"])


@pytest.mark.anyio
async def test_hanging_up_cancels_nothing_that_has_a_key(server: RunningServer) -> None:
    server.backend.step_seconds = 0.1
    await hang_up(server, extra_headers={"Idempotency-Key": "k"})
    wait_for(lambda: all_jobs(server)[0].done)
    assert [job.state for job in all_jobs(server)] == ["succeeded"]


def test_a_stream_brings_partial_pictures_and_then_the_whole(server: RunningServer, client: OpenAI) -> None:
    server.backend.step_seconds = 0.01
    stream = client.images.generate(
        prompt="a",
        stream=True,
        partial_images=3,
        size="64x96",
        output_format="webp",
        extra_body={"steps": 40, "seed": 3},
    )
    events = list(stream)
    *partials, whole = events
    assert [event.type for event in partials] == ["image_generation.partial_image"] * len(partials)
    assert 1 <= len(partials) <= 3
    for index, partial in enumerate(partials):
        assert partial.type == "image_generation.partial_image"
        assert partial.partial_image_index == index
    assert whole.type == "image_generation.completed"
    assert whole.usage.total_tokens == 0
    for event in events:
        image = picture(event.b64_json)
        assert (image.format, image.size, event.size, event.output_format) == ("WEBP", (64, 96), "64x96", "webp")
    again = client.images.generate(prompt="a", size="64x96", output_format="webp", extra_body={"steps": 40, "seed": 3})
    assert again.data is not None
    assert whole.b64_json == again.data[0].b64_json


def test_a_stream_without_partial_pictures_is_one_event(client: OpenAI) -> None:
    events = list(client.images.generate(prompt="a", stream=True, size="64x64"))
    assert [event.type for event in events] == ["image_generation.completed"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_partial_pictures_lie_evenly_over_the_steps(count: int) -> None:
    from server.dialects.openai.stream import Partials
    from server.queue.events import Event

    def event(step: int, steps: int | None = 20) -> Event:
        return Event(number=1, kind="preview", job=None, step=step, steps=steps)  # type: ignore[arg-type]

    partials = Partials(count)
    sent = {step: index for step in range(1, 21) if (index := partials.due(event(step))) is not None}
    assert sent == {-(-20 * (index + 1) // (count + 1)): index for index in range(count)}
    late = Partials(count)
    assert [late.due(event(step)) for step in (18, 19, 20)] == [0, None, None]


def test_an_error_in_a_stream_is_the_clients_error(client: OpenAI) -> None:
    with pytest.raises(openai.APIError, match="the prompt asked for a failure") as caught:
        list(client.images.generate(prompt="fail", stream=True))
    assert caught.value.code == "generation_failed"


def test_a_job_cancelled_elsewhere_ends_the_stream_with_an_error(server: RunningServer, client: OpenAI) -> None:
    server.backend.step_seconds = 0.05
    stream = client.images.generate(prompt="a", stream=True, partial_images=3, extra_body={"steps": 40})
    assert next(iter(stream)).type == "image_generation.partial_image"
    post(f"{server.url}/api/v1/jobs/{stream.response.headers['x-job-id']}/cancel")
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "cancelled"


def test_closing_a_stream_cancels(server: RunningServer, client: OpenAI) -> None:
    server.backend.step_seconds = 0.05
    stream = client.images.generate(prompt="a", stream=True, partial_images=3, extra_body={"steps": 40})
    next(iter(stream))
    stream.close()
    wait_for(lambda: [job.state for job in all_jobs(server)] == ["cancelled"])


def test_closing_a_stream_before_anything_came_cancels(server: RunningServer, client: OpenAI) -> None:
    server.backend.step_seconds = 3600.0
    client.images.generate(prompt="a", stream=True).close()
    wait_for(lambda: [job.state for job in all_jobs(server)] == ["cancelled"])
