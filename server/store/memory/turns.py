"""The turns of clients at the queue, for the store in memory: which queued jobs are started next, and in which order.

Clients share work, not jobs (start-time fair queueing; Goyal, Vin and Cheng, 1996), as ``sql.claim`` does in SQL.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby

from server.job import Job
from server.store.rules import under_suspicion


class Turns:
    """The work that each client was given."""

    def __init__(self) -> None:
        self._turns: dict[str, tuple[float, float]] = {}
        """By client: its turn when one of its jobs was last started, and that plus the work of that job."""

    def choose(self, queued: Collection[Job], *, pictures: int, alone: bool, max_attempts: int) -> list[Job]:
        """Return the jobs of ``Store.claim`` among ``queued``, and count their work to their clients."""
        chosen: list[Job] = []
        left = list(queued)
        room = pictures
        while left and room > 0:
            job = min(left, key=lambda each: (-each.priority, self._turn(each.client), each.sequence))
            suspect = under_suspicion(job.attempt - job.excused + 1, max_attempts)
            if suspect and (chosen or not alone):
                break  # the others end first, then it is started alone
            start = self._turn(job.client)
            self._turns[job.client] = start, start + job.work
            chosen.append(job)
            left.remove(job)
            room = 0 if suspect else room - job.pictures_asked
        return chosen

    def order(self, queued: Sequence[Job]) -> list[Job]:
        """Return ``queued`` in the order in which claims would start them now."""
        starts: dict[str, float] = {}
        by_client = sorted(queued, key=lambda job: (job.client, -job.priority, job.sequence))
        for client, jobs in groupby(by_client, key=lambda job: job.client):
            start = self._turn(client)
            for job in jobs:
                starts[job.id] = start
                start += job.work
        return sorted(queued, key=lambda job: (-job.priority, starts[job.id], job.sequence))

    def forget_all_but(self, clients: Collection[str]) -> None:
        """Drop the turns of clients that have no job any more."""
        self._turns = {client: turn for client, turn in self._turns.items() if client in clients}

    def _turn(self, client: str) -> float:
        """A client that asked for nothing for a while starts where the others are: it saves nothing up."""
        latest = max((started for started, _ in self._turns.values()), default=0.0)
        return max(latest, self._turns.get(client, (0.0, 0.0))[1])
