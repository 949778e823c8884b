"""The inputs and holds of the store in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable

from server.inputs.input import CALL, Hold, Input
from server.job import Job
from server.store.protocol import InputGone, QuotaExceeded


class MemoryInputs:
    """What ``Store`` promises of inputs. Jobs are asked for theirs."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Input, str]] = {}
        """Each input by its id, with the client whose quota it counts for."""
        self._holds: dict[tuple[str, str], tuple[str, Hold]] = {}
        """Each hold, with the id of its input, by owner and name."""

    def keep(self, new: Input, client: str, quota: int | None) -> Input:
        if new.id not in self._rows:
            used = sum(each.bytes for each, owner in self._rows.values() if owner == client)
            if quota is not None and used + new.bytes > quota:
                raise QuotaExceeded
            self._rows[new.id] = dataclasses.replace(new, hold=None), client
        if new.hold is None:
            return self._rows[new.id][0]
        return self.hold(new.id, new.hold)

    def hold(self, id: str, hold: Hold) -> Input:
        if id not in self._rows:
            raise InputGone
        self._holds[hold.owner, hold.name] = id, hold
        return dataclasses.replace(self._rows[id][0], hold=hold)

    def find(self, ids: Collection[str]) -> dict[str, Input]:
        return {id: self._rows[id][0] for id in ids if id in self._rows}

    def held(self, owner: str) -> dict[str, Input]:
        named = {hold.name: id for id, hold in self._holds.values() if hold.owner == owner}
        return {name: self._rows[named[name]][0] for name in sorted(named)}

    def release(self, owner: str, name: str) -> bool:
        return self._holds.pop((owner, name), None) is not None

    def take_unused(
        self, jobs: Iterable[Job], calls_before: float, uploads_before: float | None, limit: int
    ) -> list[Input]:
        def lasts(hold: Hold) -> bool:
            before = calls_before if hold.owner == CALL else uploads_before
            return before is None or hold.since >= before

        self._holds = {key: held for key, held in self._holds.items() if lasts(held[1])}
        used = {each.id for job in jobs for task in job.tasks for each in task.inputs.values()}
        used |= {id for id, _ in self._holds.values()}
        return [self._rows.pop(id)[0] for id in sorted(set(self._rows) - used)[:limit]]

    def pin(self, job: Job) -> None:
        """Check that the inputs of a job that is added are there, and end the holds of its call."""
        inputs = [each for task in job.tasks for each in task.inputs.values()]
        if any(each.id not in self._rows for each in inputs):
            raise InputGone
        for hold in [each.hold for each in inputs if each.hold is not None and each.hold.owner == CALL]:
            self._holds.pop((hold.owner, hold.name), None)
