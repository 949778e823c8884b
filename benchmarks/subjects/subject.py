"""The protocol that everything meets whose speed is measured.

A subject is described in one process and opened in another, its worker's. So it is small enough to be pickled before
it is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine import GenerationRequest


class NotHere(Exception):
    """A subject cannot run on this machine; the message says why."""


class GivenUp(Exception):
    """A picture was abandoned because its measurement ended."""


@dataclass(frozen=True)
class Delivery:
    """A picture from a subject, with what the subject says of it."""

    pixels: NDArray[np.uint8]
    """(height, width, 3)."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What the picture's bytes depend on (versions, device, precision), where the subject says so."""
    sampling: float | None = None
    """Seconds from the start of the first step to the end of the last, where the subject reports them."""


class Subject(Protocol):
    """Makes pictures. ``paint`` may be called from many threads at once; a subject that takes turns queues them."""

    @property
    def name(self) -> str:
        """Name in the report, unique within a run."""

    @property
    def dtype(self) -> str:
        """Precision of its networks."""

    @property
    def includes(self) -> str:
        """What a call of ``paint`` includes, in words."""

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""

    @property
    def concurrent(self) -> bool:
        """Whether it advances the pictures of several callers together; otherwise they take turns."""

    def absent(self) -> str | None:
        """Say why it cannot run here, as far as that is known before it is opened; None if it can."""

    def open(self) -> None:
        """Load everything that is needed for a picture. Raises ``NotHere``."""

    def paint(self, request: GenerationRequest) -> Delivery:
        """Make the picture and bring it into this process's memory. Raises ``GivenUp`` after ``give_up``."""

    def give_up(self) -> None:
        """Abandon every picture in progress as soon as possible; ``paint`` works again once all have ended."""

    def settled(self) -> bool:
        """Say whether it runs in its final form: nothing is being compiled, tuned or recorded, as far as it knows."""

    def counts(self) -> Mapping[str, int]:
        """Count what it has done since it was opened.

        ``evaluations`` counts evaluations of one picture each; ``shapes`` counts how often something had to be prepared
        for a shape. Empty for a subject that does not count, which makes one picture after another.
        """

    def record(self) -> Mapping[str, Any]:
        """Give the versions and settings that its figures depend on."""

    def close(self) -> None:
        """Free the device."""
