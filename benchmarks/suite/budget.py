"""Divides the time that a run may take among its sections. Knows nothing of what they do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


class Budget:
    """Gives each of the sections in ``weights`` its share of what is left of ``seconds`` when it starts."""

    def __init__(
        self, seconds: float, weights: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self._weights, self._waiting = weights, dict(weights)

    @property
    def waiting(self) -> set[str]:
        """The sections that have not started."""
        return set(self._waiting)

    def left(self) -> float:
        """Return the seconds until the time is up; negative afterwards."""
        return self._end - self._clock()

    def begin(self, section: str) -> float:
        """Start ``section`` and return the seconds that it may take; what it leaves goes to the sections after it."""
        del self._waiting[section]
        return self.share(section)

    def share(self, section: str) -> float:
        """Return the seconds that ``section``, which has started, may take from now on."""
        own = self._weights[section]
        return max(0.0, self.left() * own / (own + sum(self._waiting.values())))
