"""What the dispatcher knows of the queue, as one state. Knows neither the store nor the jobs."""

from __future__ import annotations

import enum


class Claiming(enum.Enum):
    """What the dispatcher knows of the queue. There is at most one claim at a time::

        CLOSED ──start──► QUEUED ◄──a job is queued── EMPTY
                            │                           ▲
                            │ slots are free            │ the claim left no job
                            ▼                           │
                         CLAIMING ──────────────────────┤
                            │ slots change              │
                            ▼                           │
                         OUTDATED ──────────────────────┘
                            │ a job is queued (also from CLAIMING)
                            ▼
                          MORE

    A claim that left jobs, or failed, leads to QUEUED; from OUTDATED and MORE the next claim follows at once. ``close``
    leads from every state to CLOSED.
    """

    CLOSED = enum.auto()
    """Not started yet, or closed: nothing is claimed."""
    EMPTY = enum.auto()
    """No job is known to be queued."""
    QUEUED = enum.auto()
    """There are queued jobs, or may be."""
    CLAIMING = enum.auto()
    """The store was asked for jobs."""
    OUTDATED = enum.auto()
    """The store was asked for jobs, and the slots have changed since."""
    MORE = enum.auto()
    """The store was asked for jobs, and more were queued since."""

    @property
    def under_way(self) -> bool:
        """Whether the store was asked for jobs and has not answered."""
        return self in (Claiming.CLAIMING, Claiming.OUTDATED, Claiming.MORE)

    def when_queued(self) -> Claiming:
        """Return the state after a job was queued."""
        if self is Claiming.EMPTY:
            return Claiming.QUEUED
        return Claiming.MORE if self.under_way else self

    def when_slots_change(self) -> Claiming:
        """Return the state after slots became free or were taken."""
        return Claiming.OUTDATED if self is Claiming.CLAIMING else self

    def when_claimed(self, *, left: bool) -> Claiming:
        """Return the state after a claim, which ``left`` jobs in the queue or did not."""
        return Claiming.QUEUED if left or self is Claiming.MORE else Claiming.EMPTY
