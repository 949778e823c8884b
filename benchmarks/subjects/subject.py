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
    """A subject that cannot run on this machine; the message says why."""


class GivenUp(Exception):
    """A picture was given up because its measurement ended."""


@dataclass(frozen=True)
class Picture:
    """What a subject delivered."""

    pixels: NDArray[np.uint8]
    """(height, width, 3)."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What the engine says that its bytes depend on."""


class Subject(Protocol):
    """Makes pictures. ``paint`` may be called from many threads at once; who cannot share the device queues them."""

    @property
    def name(self) -> str:
        """Unique within a run."""

    @property
    def dtype(self) -> str:
        """Precision of its networks."""

    @property
    def includes(self) -> str:
        """What a call of ``paint`` covers, in words."""

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""

    def absent(self) -> str | None:
        """Why it cannot run here, as far as that can be told without opening it."""

    def open(self) -> None:
        """Load everything. Raises ``NotHere``."""

    def paint(self, request: GenerationRequest) -> Picture:
        """The picture, in this process's own memory. Raises ``GivenUp`` after ``give_up``."""

    def give_up(self) -> None:
        """Let go of every picture under way, as soon as possible; ``paint`` works again once they have all ended."""

    def settled(self) -> bool:
        """Whether it runs in its final form, as far as can be told: nothing is being compiled, tuned or recorded."""

    def counts(self) -> Mapping[str, int]:
        """What it has done since it was opened: ``evaluations`` of one picture each, and ``shapes``, how often
        something had to be prepared for a shape. Empty for who does not count and makes one picture after another.
        """

    def record(self) -> Mapping[str, Any]:
        """Versions and settings that the figures depend on."""

    def close(self) -> None:
        """Free the device."""
