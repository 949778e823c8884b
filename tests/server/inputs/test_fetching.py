"""Tests how pictures that callers name by URL are fetched, and from where they are not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler

import pytest

from server.inputs.fetching import fetched
from server.problems import Problem
from tests.server.receiver import answering, endless, hang_up, receiving, status

pytestmark = pytest.mark.anyio

MOST = 100_000


def leading_to(*addresses: str) -> Callable[[str, int], Awaitable[list[str]]]:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolve


async def test_a_picture_is_fetched_also_behind_a_redirect() -> None:
    with receiving() as receiver:
        receiver.script += [status(302, Location="/there?x=1"), answering(b"picture")]
        assert await fetched(f"{receiver.url}/here", "image", most_bytes=MOST, private=True) == b"picture"
        assert [call.path for call in receiver.calls] == ["/here", "/there?x=1"]


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    with receiving() as receiver:
        receiver.script.append(answering(b"picture"))
        port = receiver.url.rpartition(":")[2]
        url = f"http://pictures.example:{port}/a.png"
        assert await fetched(url, "image", most_bytes=MOST, private=True, resolve=leading_to("127.0.0.1")) == b"picture"
        assert receiver.calls[0].headers["host"] == f"pictures.example:{port}"


@pytest.mark.parametrize(
    ("behaviours", "reason"),
    [
        ([status(404)], "404"),
        ([answering(b"x" * (MOST + 1))], "more than"),
        ([endless], "more than"),
        ([hang_up], "RemoteProtocolError"),
        ([status(302, Location="/again")] * 9, "redirects"),
        ([status(302, Location="file:///etc/passwd")], "URL"),
        ([status(302)], "302"),
        ([status(304)], "304"),
    ],
)
async def test_what_cannot_be_fetched_is_refused_with_the_reason(
    behaviours: list[Callable[[BaseHTTPRequestHandler], None]], reason: str
) -> None:
    with receiving() as receiver:
        receiver.script += behaviours
        with pytest.raises(Problem, match=reason) as caught:
            await fetched(f"{receiver.url}/x", "image", most_bytes=MOST, private=True)
        assert (caught.value.status, caught.value.field) == (400, "image")


async def test_nothing_is_fetched_from_inside() -> None:
    with receiving() as receiver:
        with pytest.raises(Problem, match="own network"):
            await fetched(f"{receiver.url}/x", "image", most_bytes=MOST, private=False)
        name = "http://pictures.example/x"
        with pytest.raises(Problem, match="own network"):
            await fetched(name, "image", most_bytes=MOST, private=False, resolve=leading_to("127.0.0.1"))
        assert receiver.calls == []
