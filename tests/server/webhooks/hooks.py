"""Webhooks to a receiver, and waiting until all messages are delivered."""

from __future__ import annotations

import asyncio
from typing import Any

from server.job import Webhook
from tests.server.queues import Queue
from tests.server.receiver import Receiver


def hook(receiver: Receiver, *events: str, **named: Any) -> Webhook:
    return Webhook(url=f"{receiver.url}/hook?a=1", events=events or ("finished",), **named)


async def emptied(own: Queue) -> None:
    """Wait until every message was delivered or given up."""
    while await own.store.next_due() is not None:
        await asyncio.sleep(0.005)
