"""What a store must do: keep jobs, the webhooks that wait to be delivered, and what pictures were handed in.

Knows no HTTP, no engine and no files.

``sqlite`` is what a server uses by default, ``postgres`` where a URL names one; ``memory`` keeps nothing on disk, for
tests and trials. The tests in ``tests/server/store`` state what every store promises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import urlsplit

from server.inputs.input import Hold, Input
from server.job import Failure, Job, Picture, State


class StoreUnusable(Exception):
    """The store cannot be opened: another process uses it, a later version made it, or it cannot be written."""


class StoreFailed(Exception):
    """A transaction failed (the disk is full, the file is damaged), and changed nothing."""


class StoreClosed(StoreFailed):
    """The store is closed, or not open yet."""


class QueueFull(Exception):
    """The queue holds as many jobs as it may."""


class IdTaken(Exception):
    """Another job has the id already."""


class KeyConflict(Exception):
    """The client used the idempotency key for a different request before."""


class InputGone(Exception):
    """An input that is named is not there, or not any more."""


class QuotaExceeded(Exception):
    """The client's inputs have as many bytes as they may."""


Moment = Literal["started", "output", "progress", "finished"]
"""The kinds of news that a webhook can ask for."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One webhook call, kept until it is delivered or given up."""

    id: str
    """An id that stays the same over all attempts to deliver the message."""
    job: str
    client: str
    """The client that the job belongs to."""
    moment: Moment
    url: str
    body: str
    created: float
    due: float
    """The time of the next attempt to deliver it."""
    attempts: int = 0

    @property
    def host(self) -> str:
        """The receiver: the URL's host, with its port if it has one."""
        return urlsplit(self.url).netloc.lower()


Compose = Callable[[Job, Moment], Sequence[Message]]
"""Returns the messages for a job's change of state. Called within the transaction that changes it, on any thread."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What an attempt has made; the fields are those of ``Job``."""

    pictures: tuple[Picture, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    record: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ending(Made):
    """How an attempt ended."""

    state: State
    """``succeeded``, ``failed`` or ``cancelled``."""
    finished: float
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """The jobs that a claim started."""

    jobs: list[Job]
    waiting: frozenset[str] = frozenset()
    """The clients that own the remaining queued jobs."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """A question for jobs: which ones, in which order, which page, and how much of them to read."""

    states: Collection[State] | None = None
    """This field and the next eight restrict the search; None does not."""
    dialects: Collection[str] | None = None
    ids: Collection[str] | None = None
    client: str | None = None
    label: str | None = None
    words: Collection[str] = ()
    """Words each of which is part of some text of a job's tasks: a prompt, a model, a sampler. ASCII letters match in
    upper and lower case."""
    created_from: float | None = None
    """The earliest time of acceptance."""
    created_before: float | None = None
    """The time before which jobs were accepted."""
    started: bool = False
    """Whether to leave out jobs of which no attempt was started."""
    by_duration: bool = False
    """Whether to order by the seconds that the last attempt took (0 while there is no end) instead of by acceptance."""
    newest_first: bool = True
    """Whether the newest, or the longest, come first."""
    limit: int | None = None
    """The size of a page; None for all, 0 to count only."""
    offset: int = 0
    most_bytes: int | None = None
    """About how many bytes of JSON in ``extra`` to read: the first job is always read, those beyond the limit are
    only named in ``Found.ids``. None reads the whole page, 0 no job."""
    leave_out: Collection[str] = ()
    """Keys of ``extra`` that are not read."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A page of jobs, and how many the search has in all."""

    jobs: list[Job]
    """The first of ``ids``, or all of them, as ``Search.most_bytes`` has it."""
    ids: list[str]
    """The ids of all jobs on the page."""
    counts: Mapping[State, int]
    """The number of jobs on all pages in each state that was searched."""

    @property
    def total(self) -> int:
        """The number of jobs on all pages."""
        return sum(self.counts.values())


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What ``Store.recover`` found."""

    queued: list[Job]
    """All jobs that wait now, in the order of acceptance."""
    ended: list[Job]
    """Jobs of dead attempts that are not tried again: they were cancelled, or failed too often."""


class Store(Protocol):
    """A durable table of jobs. Times are Unix times in seconds, given by the caller.

    Each method is one transaction, durable when it returns; they are carried out in the order of the calls. A method
    that returns an ``Awaitable`` has started its transaction when it returns, before it is awaited. All of them raise
    ``StoreFailed``, and ``StoreClosed`` while the store is not open.
    """

    async def open(self) -> None:
        """Take the store over for this process alone. Raises ``StoreUnusable``."""

    async def close(self) -> None:
        """Carry out the calls made so far, then release the store."""

    async def recover(self, *, max_attempts: int, now: float) -> Recovered:
        """Settle the jobs that dead attempts left running: queue them again, without the pictures that they show; end
        them as cancelled if that was asked for, with the pictures that they show if they were interrupted, or as failed
        (``attempts_exhausted``) after ``max_attempts`` attempts that were not excused."""

    def add(self, job: Job, *, fingerprint: str, max_queued: int) -> Awaitable[Job]:
        """Accept ``job`` and return it with its ``sequence``, or return the job that its idempotency key gave before.

        The job keeps its tasks' inputs from now on, in place of the holds that they have. ``fingerprint`` identifies
        what was asked for. Raises ``QueueFull``, ``IdTaken``, ``KeyConflict``, ``InputGone``.
        """

    def claim(
        self, *, pictures: int, now: float, alone: bool, max_attempts: int, not_models: Collection[str] = ()
    ) -> Awaitable[Claimed]:
        """Start queued jobs of about ``pictures`` pictures together, and raise the ``attempt`` of each.

        Higher priority goes first; within a priority clients take turns by the work that they were given; each
        client's jobs go in the order of acceptance. Jobs on one of ``not_models`` are passed over. A job on the last of
        its attempts may be what brought the server down: it is started only if nothing else runs (``alone``), and then
        as the only one.
        """

    async def show(self, id: str, attempt: int, made: Made) -> Job | None:
        """Put what a running attempt has made by now into its job's row, in place of what was there; None if that
        attempt is not the running one."""

    def finish(self, id: str, attempt: int, ending: Ending) -> Awaitable[Job | None]:
        """End a job, unless ``attempt`` is not the running one: then return None and change nothing.

        A job whose cancelling was requested before becomes cancelled, whatever ``ending`` says.
        """

    async def requeue(self, id: str, attempt: int, *, excused: bool, max_attempts: int, now: float) -> Job | None:
        """Queue a running attempt's job again, or end it as ``recover`` does; None if that attempt is not the running
        one. An ``excused`` attempt does not count."""

    async def cancel(self, id: str, now: float, *, keep: bool = False) -> Job | None:
        """End a queued job, mark a running one (``cancel_requested``), leave a finished one; return the job as it is
        then, or None if there is none.

        With ``keep`` the mark is ``interrupted``: the job ends with the pictures that its row shows when its attempt is
        dead, as succeeded if there are any, or else as cancelled. ``cancel_requested`` wins over it.
        """

    async def get(self, id: str) -> Job | None:
        """Return one job, or None if there is none."""

    async def find(self, search: Search) -> Found:
        """Return a page of jobs, and the number of all that the search is for."""

    async def jobs_ahead(self, ids: Collection[str]) -> dict[str, int]:
        """Return how many jobs will be started before each of these that is queued, as far as is known now."""

    async def kept_pictures(self, tokens: Collection[str]) -> dict[str, frozenset[str]]:
        """Return the names of a job's pictures by its token, for each token that belongs to a job."""

    async def expired(self, *, before: float | None, keep: int | None, limit: int) -> list[Job]:
        """Return finished jobs that ended before a time or are not among the latest ``keep``, the oldest first."""

    async def delete(self, ids: Collection[str]) -> int:
        """Remove finished jobs; return how many there were."""

    async def drop_picture(self, id: str, name: str) -> Job | None:
        """Take one picture out of a finished job, and return the job as it is then; None if no such job has it."""

    async def post(self, messages: Sequence[Message]) -> None:
        """Put messages that report no change of state into the outbox."""

    async def due(
        self, *, now: float, limit: int, per_host: int, per_client: int, under_way: Collection[Message]
    ) -> list[Message]:
        """Return messages to deliver now in addition to those ``under_way``, the longest due first.

        There is at most one of each job, and no more than ``per_host`` and ``per_client`` at a time, those under way
        included. If very many are due, some are left for the next call.
        """

    async def next_due(self) -> float | None:
        """Return when the next message is due, or None if the outbox is empty."""

    async def delivered(self, id: str) -> None:
        """Remove a message that was delivered or given up."""

    async def postpone(self, id: str, due: float) -> None:
        """Put off a message until ``due``, and count one more attempt."""

    async def identity(self) -> str:
        """Return 16 hexadecimal digits that no other store has, the same for ever."""

    async def keep_input(self, new: Input, client: str, *, quota: int | None) -> Input:
        """Add an input with its hold, or only the hold to the input of the same id; return the input as it is there.

        Its bytes count for the ``client`` that added it first. Raises ``QuotaExceeded`` beyond ``quota`` bytes.
        """

    async def hold_input(self, id: str, hold: Hold) -> Input:
        """Hold an input, and return it with the hold. A hold of the same owner and name is moved to it.

        Raises ``InputGone``.
        """

    async def inputs(self, ids: Collection[str]) -> dict[str, Input]:
        """Return by id those of the inputs that are there, without their holds."""

    async def held_inputs(self, owner: str) -> dict[str, Input]:
        """Return the inputs that an owner holds, by the holds' names, in the order of the names."""

    async def release_input(self, owner: str, name: str) -> bool:
        """End a hold; False if there was none."""

    async def take_unused_inputs(self, *, calls_before: float, uploads_before: float | None, limit: int) -> list[Input]:
        """Remove inputs that no job has and nothing holds, and return them: their files can go.

        Holds of calls, and of uploads if that is given, from before these Unix times have ended.
        """
