"""Thumbnails are kept in memory up to a bound, the latest ones, and are those of pictures that are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.pictures.thumbnails import Thumbnails
from tests.server.queues import queue, request

pytestmark = pytest.mark.anyio


async def test_the_latest_stay_in_memory_up_to_the_bound(tmp_path: Path) -> None:
    async with queue(tmp_path) as own:
        names = [(await own.finish(request(seed=seed))).pictures[0].name for seed in range(3)]
        one = await Thumbnails(own.outputs).get(names[0], "webp", 32)
        small = Thumbnails(own.outputs, most_bytes=2 * len(one) + len(one) // 2)
        reads: list[str] = []
        read = own.outputs.read

        async def counted(name: str) -> bytes:
            reads.append(name)
            return await read(name)

        own.outputs.read = counted  # type: ignore[method-assign]
        for name in (names[0], names[1], names[0], names[2], names[0], names[1]):
            await small.get(name, "webp", 32)
    assert reads == [names[0], names[1], names[2], names[1]]
