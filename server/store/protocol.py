"""The table of jobs and the outbox of webhooks: what a store must do. ``sqlite`` is the one that comes with the server.

Knows no HTTP, no engine and no files but its own. Each method is one transaction, durable when it returns;
they are carried out in the order in which they were asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import urlsplit

from server.job import Failure, Job, Picture, State


class StoreUnusable(Exception):
    """The store cannot be opened: in use by another process, made by a later version, not writable."""


class StoreFailed(Exception):
    """A transaction could not be carried out (the disk is full, the file is damaged); nothing of it was done."""


class StoreClosed(StoreFailed):
    """The store is closed, or not open yet."""


class QueueFull(Exception):
    """As many jobs are queued as may be."""


class IdTaken(Exception):
    """There is a job of that id."""


class KeyConflict(Exception):
    """The client used the idempotency key for something else."""


Moment = Literal["started", "output", "progress", "finished"]
"""What a webhook tells of."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A webhook's call, kept until it is delivered or given up."""

    id: str
    """The same over all attempts to deliver it."""
    job: str
    client: str
    """Whose job it is."""
    moment: Moment
    url: str
    body: str
    created: float
    due: float
    attempts: int = 0

    @property
    def host(self) -> str:
        """Whom it goes to: the URL's host, with its port if it has one."""
        return urlsplit(self.url).netloc.lower()


Compose = Callable[[Job, Moment], Sequence[Message]]
"""The messages that tell of a job's change of state. Called within the transaction that changes it, on any thread."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an attempt."""

    state: State
    """``succeeded``, ``failed`` or ``cancelled``."""
    finished: float
    pictures: tuple[Picture, ...] = ()
    failure: Failure | None = None
    timings: dict[str, float] = field(default_factory=dict)
    record: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """What was begun."""

    jobs: list[Job]
    left: bool
    """Whether there are queued jobs still."""
    waiting: frozenset[str] = frozenset()
    """The clients whose they are."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """Which jobs, in which order, and which page of them."""

    states: Collection[State] | None = None
    dialects: Collection[str] | None = None
    ids: Collection[str] | None = None
    client: str | None = None
    workflow: str | None = None
    """The id of the editor's file that a ComfyUI prompt came from."""
    begun: bool = False
    """Only those that were begun."""
    by_duration: bool = False
    """By the seconds that their last attempt took, 0 where it has not ended; else in the order of acceptance."""
    newest_first: bool = True
    """Or the longest first."""
    limit: int = -1
    """−1: all."""
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class Found:
    """A page of a search."""

    ids: list[str]
    total: int
    """On all its pages."""


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What was found when the store was taken over."""

    queued: list[Job]
    """All that wait now, in the order of acceptance."""
    ended: list[Job]
    """Those that a dead attempt left and that will not be begun again: cancelled, or failed after too many."""


class Store(Protocol):
    """The durable table. Times are Unix times in seconds, given by the caller.

    What returns an ``Awaitable`` is under way at once, also before it is waited for.
    """

    async def open(self) -> None:
        """Take it over for this process alone. Raises ``StoreUnusable``."""

    async def close(self) -> None: ...

    async def recover(self, *, max_attempts: int, now: float) -> Recovered:
        """End what dead attempts left running: back into the queue, cancelled where that was asked for, failed with
        ``attempts_exhausted`` where it was begun ``max_attempts`` times."""

    def add(self, job: Job, *, fingerprint: str, max_queued: int) -> Awaitable[Job]:
        """Accept ``job``, its ``sequence`` filled in, or the job that its client's idempotency key gave before.

        Raises ``QueueFull``, ``IdTaken``, ``KeyConflict``.
        """

    def claim(
        self, *, pictures: int, now: float, alone: bool, max_attempts: int, not_models: Collection[str] = ()
    ) -> Awaitable[Claimed]:
        """Begin queued jobs of some ``pictures`` together, raising their ``attempt``: higher priority first, clients
        in turn by the work that they were given, each client's in the order of acceptance; none for ``not_models``.

        A job on the last of its attempts may be what brought the server down: it is begun only where nothing else
        runs (``alone``), and then it is the only one.
        """

    def finish(self, id: str, attempt: int, outcome: Outcome) -> Awaitable[Job | None]:
        """The end of an attempt, unless it is not the running one: then None. Where cancelling was asked for before,
        the job becomes cancelled whatever the outcome."""

    async def requeue(self, id: str, attempt: int, *, excused: bool, max_attempts: int, now: float) -> Job | None:
        """Put a running attempt's job back into the queue (``excused``: it counts for nothing), or end it as
        ``recover`` does. None where that attempt is not the running one."""

    async def cancel(self, id: str, now: float) -> Job | None:
        """End a queued job, mark a running one (``cancel_requested``), leave a finished one; the job as it is then."""

    async def get(self, id: str) -> Job | None: ...

    async def find(
        self,
        *,
        states: Collection[State] | None,
        dialects: Collection[str] | None,
        ids: Sequence[str] | None,
        limit: int,
        offset: int,
        newest_first: bool,
    ) -> list[Job]: ...

    async def count(
        self, *, states: Collection[State] | None, dialects: Collection[str] | None
    ) -> dict[State, int]: ...

    async def search(self, search: Search) -> Found: ...

    async def read(
        self, ids: Sequence[str], *, most_bytes: int | None = None, leave_out: Sequence[str] = ()
    ) -> list[Job]:
        """Those jobs, in the order of ``ids``: as many as have about ``most_bytes`` of ``extra`` together, at least
        one. Their ``extra`` is without what ``leave_out`` names."""

    async def aheads(self, ids: Collection[str]) -> dict[str, int]:
        """How many queued jobs will be begun before each of these, as far as can be told now; the queued ones only."""

    async def kept_pictures(self, tokens: Collection[str]) -> dict[str, frozenset[str]]:
        """Of each token that belongs to a job, the pictures that the job has."""

    async def expired(self, *, before: float | None, keep: int | None, limit: int) -> list[Job]:
        """Finished jobs that ended before a time, or are not among the latest ``keep`` ones; oldest first."""

    async def delete(self, ids: Collection[str]) -> int:
        """Remove finished jobs; how many there were."""

    async def post(self, messages: Sequence[Message]) -> None:
        """Put messages into the outbox that tell of no change of state."""

    async def due(
        self, *, now: float, limit: int, per_host: int, per_client: int, under_way: Collection[Message]
    ) -> list[Message]:
        """Messages to be delivered now beside those ``under_way``, the longest due first: of each job one, to each
        host and for each client no more than so many at once. Where there are very many, some are left for the next
        question.
        """

    async def next_due(self) -> float | None:
        """When the next message is due."""

    async def delivered(self, id: str) -> None:
        """Remove a message that was delivered or given up."""

    async def postpone(self, id: str, due: float) -> None:
        """Deliver a message later, one more attempt counted."""
