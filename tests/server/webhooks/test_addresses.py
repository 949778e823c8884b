"""Webhooks go to the address that was checked, and only there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.job import Webhook
from tests.server.queues import queue, until
from tests.server.receiver import Receiver
from tests.server.webhooks.hooks import emptied, hook

pytestmark = pytest.mark.anyio


async def test_a_name_server_that_does_not_answer_ends_an_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.webhooks.delivery._TIMEOUT_SECONDS", 0.05)

    asked: list[str] = []

    async def silent(host: str, port: int) -> list[str]:
        asked.append(host)
        await asyncio.sleep(3600)
        raise AssertionError

    async with queue(tmp_path, webhook_attempts=2, resolve=silent) as own:
        await own.finish(webhook=Webhook(url="http://silent.example/", events=("finished",)))
        await emptied(own)
    assert asked == ["silent.example"] * 2


def resolver(*answers: list[str]) -> Callable[[str, int], Any]:
    given = iter(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return next(given)

    return resolve


async def test_a_message_for_an_inner_address_is_dropped(tmp_path: Path, receiver: Receiver) -> None:
    """The name leads to another address by the time it is called."""

    port = receiver.url.rpartition(":")[2]
    async with queue(tmp_path, webhook_private_addresses=False, resolve=resolver(["127.0.0.1"])) as own:
        await own.finish(webhook=Webhook(url=f"http://rebound.example:{port}/"))
        await emptied(own)
    assert receiver.calls == []


async def test_the_address_that_was_checked_is_the_one_that_is_called(tmp_path: Path, receiver: Receiver) -> None:
    """A name that would lead elsewhere if asked again is not asked again; the receiver sees the name."""

    port = receiver.url.rpartition(":")[2]
    async with queue(tmp_path, resolve=resolver(["127.0.0.1"])) as own:  # a second question would have no answer
        await own.finish(webhook=Webhook(url=f"http://nowhere.invalid:{port}/x"))
        await until(lambda: receiver.calls)
    assert receiver.calls[0].headers["host"] == f"nowhere.invalid:{port}"


async def test_an_internationalised_name_is_called_as_idna_has_it(tmp_path: Path, receiver: Receiver) -> None:
    port = receiver.url.rpartition(":")[2]
    async with queue(tmp_path, resolve=resolver(["127.0.0.1"])) as own:
        await own.finish(webhook=Webhook(url=f"http://bücher.example:{port}/straße"))
        await until(lambda: receiver.calls)
    assert receiver.calls[0].headers["host"] == f"xn--bcher-kva.example:{port}"


async def test_a_proxy_of_the_environment_is_not_asked(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async with queue(tmp_path) as own:
        await own.finish(webhook=hook(receiver))
        await until(lambda: receiver.calls)
