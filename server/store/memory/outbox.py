"""The webhooks that wait to be delivered, for the store in memory."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence

from server.store.protocol import Message


class MemoryOutbox:
    """Messages by id."""

    def __init__(self) -> None:
        self._messages: dict[str, Message] = {}

    def post(self, messages: Sequence[Message]) -> None:
        self._messages |= {message.id: message for message in messages}

    def due(
        self, now: float, limit: int, per_host: int, per_client: int, under_way: Collection[Message]
    ) -> list[Message]:
        chosen: list[Message] = []
        jobs = {message.job for message in under_way}
        hosts = Counter(message.host for message in under_way)
        clients = Counter(message.client for message in under_way)
        for message in sorted(self._messages.values(), key=lambda each: each.due):
            if message.due > now or len(chosen) == limit:
                break
            if message.job in jobs:
                continue
            if hosts[message.host] < per_host and clients[message.client] < per_client:
                jobs.add(message.job)
                hosts[message.host] += 1
                clients[message.client] += 1
                chosen.append(message)
        return chosen

    def next_due(self) -> float | None:
        return min((message.due for message in self._messages.values()), default=None)

    def delivered(self, id: str) -> None:
        self._messages.pop(id, None)

    def postpone(self, id: str, due: float) -> None:
        message = self._messages.get(id)
        if message is not None:
            self._messages[id] = dataclasses.replace(message, due=due, attempts=message.attempts + 1)
