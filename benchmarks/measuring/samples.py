"""Computes statistics of measured values: median, percentiles, and how far two lists are apart.

Works on plain numbers; knows nothing of what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

_EXACT_PAIRS = 900
"""Up to this many pairs the distribution of the rank sum is counted exactly; above, it is approximated as normal."""


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` (0 … 1) of the samples lie, linear between neighbours; NaN for no samples.

    A percentile never exceeds the samples: p99 of 20 is nearly the largest.
    """
    if not samples:
        return math.nan
    ordered = sorted(samples)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def median(samples: Sequence[float]) -> float:
    """Return the middle of the samples; NaN if there are none."""
    return percentile(samples, 0.5)


@dataclass(frozen=True)
class Factor:
    """How many times as large one quantity is as another, with bounds for the true value."""

    low: float
    middle: float
    high: float

    @property
    def bounded(self) -> bool:
        """Whether there were enough samples for bounds."""
        return self.low > 0 and math.isfinite(self.high)


def factor(old: Sequence[float], new: Sequence[float], confidence: float = 0.99) -> Factor:
    """Estimate ``new`` over ``old`` for independent lists of positive values.

    Gives the median of all pairwise quotients with the bounds of the rank-sum test (Hodges & Lehmann 1963; Moses 1965).
    It assumes no distribution, so that a few slow outliers change nothing. The bounds are 0 and ∞ if the lists are too
    short for ``confidence``: 99 % takes at least 5 values on each side.
    """
    quotients = sorted(after / before for before in old for after in new)
    if not quotients:
        return Factor(0.0, math.nan, math.inf)
    cut = _rank_cut(len(old), len(new), (1 - confidence) / 2)
    if cut == 0:
        return Factor(0.0, median(quotients), math.inf)
    return Factor(quotients[cut - 1], median(quotients), quotients[-cut])


def _rank_cut(m: int, n: int, tail: float) -> int:
    """Find the largest k with P(U < k) ≤ ``tail``, for the rank sum U of m and n values of one population."""
    if m * n > _EXACT_PAIRS:
        deviation = math.sqrt(m * n * (m + n + 1) / 12)
        return max(0, math.floor(m * n / 2 + NormalDist().inv_cdf(tail) * deviation))
    ways = _rank_sum_ways(m, n)
    allowed, seen = tail * math.comb(m + n, m), 0
    for u, count in enumerate(ways):
        seen += count
        if seen > allowed:
            return u
    return len(ways)


def _rank_sum_ways(m: int, n: int) -> list[int]:
    """Count the orders of m and n values in which U is 0, 1, …, mn: the Gaussian binomial's coefficients."""
    ways = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for u in range(m * n, n + i - 1, -1):  # times (1 − q^(n+i))
            ways[u] -= ways[u - n - i]
        for u in range(i, m * n + 1):  # over (1 − q^i)
            ways[u] += ways[u - i]
    return ways


def paired(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return ``others`` over ``ones``, round by round, for values measured by turns, so that drift cancels."""
    return [other / one for one, other in zip(ones, others, strict=True)]
