"""Tests when two calls with the same idempotency key count as the same."""

from __future__ import annotations

from server.queue.accepting import fingerprint
from tests.server.queues import new, request


def test_the_fingerprint_tells_calls_apart() -> None:
    same = [new(request(seed=None)), new(request(seed=None), client="ben", priority=3)]
    assert len({fingerprint(each) for each in same}) == 1
    different = [
        *same[:1],
        new(request(seed=1)),
        new(request(seed=None), request(seed=None)),
        new(request(seed=None), dialect="openai"),
        new(request(seed=None), asked={"n": 1}),
    ]
    assert len({fingerprint(each) for each in different}) == len(different)
