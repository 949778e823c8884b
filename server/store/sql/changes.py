"""The changes of a job's state. Each is one UPDATE that names the state, and the attempt, that it starts from: a late
caller changes nothing. The webhooks that report a change are written in the same transaction."""

from __future__ import annotations

from server.job import FINISHED, Job
from server.store import Compose, Ending, IdTaken, KeyConflict, Made, Moment, QueueFull, Recovered
from server.store.rules import ending_of_dead_attempt
from server.store.sql import inputs, outbox, queries
from server.store.sql.database import Database
from server.store.sql.rows import columns_of, failure_json, job_of, made_columns


class Changes:
    """The operations that ``DatabaseThread`` carries out to change a job's state."""

    def __init__(self, compose: Compose) -> None:
        self._compose = compose

    def add(self, database: Database, job: Job, fingerprint: str, max_queued: int) -> Job:
        before = _under_key(database, job, fingerprint)
        if before is not None:
            return before
        if queries.number_queued(database) >= max_queued:
            raise QueueFull
        columns = columns_of(job, fingerprint)
        marks = ", ".join(f":{name}" for name in columns)
        row = database.execute(
            f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING RETURNING *",
            columns,
        ).fetchone()
        if row is None:
            raise IdTaken
        inputs.pin(database, row["sequence"], job)
        return job_of(row)

    def start(self, database: Database, id: str, now: float) -> Job:
        row = database.execute(
            "UPDATE jobs SET state = 'running', attempt = attempt + 1, started = ?"
            " WHERE id = ? AND state = 'queued' RETURNING *",
            (now, id),
        ).fetchone()
        return self._posted(database, job_of(row), "started")

    def show(self, database: Database, id: str, attempt: int, made: Made) -> Job | None:
        row = database.execute(
            """
            UPDATE jobs SET pictures = :pictures, timings = :timings, record = :record
            WHERE id = :id AND attempt = :attempt AND state = 'running' RETURNING *
            """,
            {"id": id, "attempt": attempt, **made_columns(made)},
        ).fetchone()
        return None if row is None else job_of(row)

    def finish(self, database: Database, id: str, attempt: int, ending: Ending) -> Job | None:
        assert ending.state in FINISHED
        row = database.execute(
            """
            UPDATE jobs SET
                state = CASE WHEN cancel_requested <> 0 THEN 'cancelled' ELSE :state END,
                pictures = CASE WHEN cancel_requested <> 0 THEN '[]' ELSE :pictures END,
                failure = CASE WHEN cancel_requested <> 0 THEN NULL ELSE :failure END,
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
        return _same_end(database, id, attempt, ending) if row is None else self._ended(database, job_of(row))

    def requeue(
        self, database: Database, id: str, attempt: int, excused: bool, max_attempts: int, now: float
    ) -> Job | None:
        row = database.execute(
            "UPDATE jobs SET excused = excused + ? WHERE id = ? AND attempt = ? AND state = 'running' RETURNING *",
            (int(excused), id, attempt),
        ).fetchone()
        return None if row is None else self._again(database, job_of(row), max_attempts, now)

    def cancel(self, database: Database, id: str, now: float, keep: bool) -> Job | None:
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

    def recover(self, database: Database, max_attempts: int, now: float) -> Recovered:
        left = [self._again(database, job, max_attempts, now) for job in queries.in_state(database, "running")]
        return Recovered(
            queued=queries.in_state(database, "queued"),
            ended=[job for job in left if job.done],
        )

    def _again(self, database: Database, job: Job, max_attempts: int, now: float) -> Job:
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

    def _ended(self, database: Database, job: Job) -> Job:
        if job.pictures:
            self._posted(database, job, "output")
        return self._posted(database, job, "finished")

    def _posted(self, database: Database, job: Job, moment: Moment) -> Job:
        if job.webhook is not None and moment in job.webhook.events:
            outbox.post(database, self._compose(job, moment))
        return job


def _under_key(database: Database, job: Job, fingerprint: str) -> Job | None:
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


def _same_end(database: Database, id: str, attempt: int, ending: Ending) -> Job | None:
    """Return the job if an earlier call with the same ending has ended it: its answer may have been lost."""
    row = database.execute(
        "SELECT * FROM jobs WHERE id = ? AND attempt = ? AND finished = ?", (id, attempt, ending.finished)
    ).fetchone()
    return None if row is None else job_of(row)
