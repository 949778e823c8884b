"""The time that a run may take, shared out among its sections. Knows nothing of what they do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


class Budget:
    """``seconds`` from now on; each of the sections in ``weights`` gets its share of what is left when it begins."""

    def __init__(
        self, seconds: float, weights: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self._weights, self._waiting = weights, dict(weights)

    @property
    def waiting(self) -> set[str]:
        """The sections that have not begun."""
        return set(self._waiting)

    def left(self) -> float:
        """Seconds until the time is up; negative afterwards."""
        return self._end - self._clock()

    def begin(self, section: str) -> float:
        """The seconds that ``section`` may take now; what it leaves unused goes to those after it."""
        del self._waiting[section]
        return self.share(section)

    def share(self, section: str) -> float:
        """The seconds that ``section``, which has begun, may take from now on."""
        own = self._weights[section]
        return max(0.0, self.left() * own / (own + sum(self._waiting.values())))
