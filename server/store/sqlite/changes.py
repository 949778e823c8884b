"""The changes of a job's state. Each is one UPDATE that names the state, and the attempt, that it starts from: a late
caller changes nothing. The webhooks that report a change are written in the same transaction."""

from __future__ import annotations

import sqlite3

from server.job import FINISHED, Job
from server.store import Compose, Ending, IdTaken, KeyConflict, Made, Moment, QueueFull, Recovered
from server.store.rules import ending_of_dead_attempt
from server.store.sqlite import inputs, outbox, queries
from server.store.sqlite.rows import columns_of, failure_json, job_of, made_columns


class Changes:
    """The operations that ``DatabaseThread`` carries out to change a job's state."""

    def __init__(self, compose: Compose) -> None:
        self._compose = compose

    def add(self, database: sqlite3.Connection, job: Job, fingerprint: str, max_queued: int) -> Job:
        before = _under_key(database, job, fingerprint)
        if before is not None:
            return before
        columns = columns_of(job, fingerprint)
        names = ", ".join(columns)
        marks = ", ".join(f":{name}" for name in columns)
        room = "(SELECT COUNT(*) FROM jobs WHERE state = 'queued') < :max_queued"
        try:
            row = database.execute(
                f"INSERT INTO jobs ({names}) SELECT {marks} WHERE {room} RETURNING *",
                columns | {"max_queued": max_queued},
            ).fetchone()
        except sqlite3.IntegrityError as error:
            if "jobs.id" not in str(error):
                raise
            raise IdTaken from None
        if row is None:
            raise QueueFull
        inputs.pin(database, row["sequence"], job)
        return job_of(row)

    def start(self, database: sqlite3.Connection, id: str, now: float) -> Job:
        row = database.execute(
            "UPDATE jobs SET state = 'running', attempt = attempt + 1, started = ?"
            " WHERE id = ? AND state = 'queued' RETURNING *",
            (now, id),
        ).fetchone()
        return self._posted(database, job_of(row), "started")

    def show(self, database: sqlite3.Connection, id: str, attempt: int, made: Made) -> Job | None:
        row = database.execute(
            """
            UPDATE jobs SET pictures = :pictures, timings = :timings, record = :record
            WHERE id = :id AND attempt = :attempt AND state = 'running' RETURNING *
            """,
            {"id": id, "attempt": attempt, **made_columns(made)},
        ).fetchone()
        return None if row is None else job_of(row)

    def finish(self, database: sqlite3.Connection, id: str, attempt: int, ending: Ending) -> Job | None:
        assert ending.state in FINISHED
        row = database.execute(
            """
            UPDATE jobs SET
                state = CASE WHEN cancel_requested THEN 'cancelled' ELSE :state END,
                pictures = CASE WHEN cancel_requested THEN '[]' ELSE :pictures END,
                failure = CASE WHEN cancel_requested THEN NULL ELSE :failure END,
                finished = :finished, timings = :timings, record = :record
            WHERE id = :id AND attempt = :attempt AND state = 'running' RETURNING *
            """,
            {
                "id": id,
                "attempt": attempt,
                "state": ending.state,
                "finished": ending.finished,
                "failure": failure_json(ending.failure),
                **made_columns(ending),
            },
        ).fetchone()
        return None if row is None else self._ended(database, job_of(row))

    def requeue(
        self, database: sqlite3.Connection, id: str, attempt: int, excused: bool, max_attempts: int, now: float
    ) -> Job | None:
        row = database.execute(
            "UPDATE jobs SET excused = excused + ? WHERE id = ? AND attempt = ? AND state = 'running' RETURNING *",
            (excused, id, attempt),
        ).fetchone()
        return None if row is None else self._again(database, job_of(row), max_attempts, now)

    def cancel(self, database: sqlite3.Connection, id: str, now: float, keep: bool) -> Job | None:
        mark = "interrupted" if keep else "cancel_requested"
        row = database.execute(
            f"UPDATE jobs SET state = 'cancelled', finished = ?, {mark} = 1"
            " WHERE id = ? AND state = 'queued' RETURNING *",
            (now, id),
        ).fetchone()
        if row is not None:
            return self._ended(database, job_of(row))
        row = database.execute(
            f"UPDATE jobs SET {mark} = 1 WHERE id = ? AND state = 'running' RETURNING *", (id,)
        ).fetchone()
        return queries.get(database, id) if row is None else job_of(row)

    def recover(self, database: sqlite3.Connection, max_attempts: int, now: float) -> Recovered:
        left = [self._again(database, job, max_attempts, now) for job in queries.in_state(database, "running")]
        return Recovered(
            queued=queries.in_state(database, "queued"),
            ended=[job for job in left if job.done],
        )

    def _again(self, database: sqlite3.Connection, job: Job, max_attempts: int, now: float) -> Job:
        """Queue a running job whose attempt is dead, or end it."""
        ending = ending_of_dead_attempt(job, max_attempts, now)
        if ending is not None:
            ended = self.finish(database, job.id, job.attempt, ending)
            assert ended is not None
            return ended
        row = database.execute(
            "UPDATE jobs SET state = 'queued', pictures = '[]', timings = '{}', record = '{}' WHERE id = ? RETURNING *",
            (job.id,),
        ).fetchone()
        return job_of(row)

    def _ended(self, database: sqlite3.Connection, job: Job) -> Job:
        if job.pictures:
            self._posted(database, job, "output")
        return self._posted(database, job, "finished")

    def _posted(self, database: sqlite3.Connection, job: Job, moment: Moment) -> Job:
        if job.webhook is not None and moment in job.webhook.events:
            outbox.post(database, self._compose(job, moment))
        return job


def _under_key(database: sqlite3.Connection, job: Job, fingerprint: str) -> Job | None:
    """Return the job that the client's idempotency key gave before."""
    if job.idempotency_key is None:
        return None
    row = database.execute(
        "SELECT * FROM jobs WHERE client = ? AND idempotency_key = ?", (job.client, job.idempotency_key)
    ).fetchone()
    if row is None:
        return None
    if row["fingerprint"] != fingerprint:
        raise KeyConflict
    return job_of(row)
