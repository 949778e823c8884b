"""What a list of measured values says: its middle, its tail, its spread, and how far two lists are apart.

Plain arithmetic on plain numbers; knows nothing of what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

_EXACT_PAIRS = 900
"""Up to so many pairs the distribution of the rank sum is counted; beyond, the normal curve is as good."""


def percentile(samples: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 … 1) of the samples lie, linear between neighbours. NaN where there are none.

    An order statistic of n samples reaches no further than they do: p99 of 20 is nearly their largest.
    """
    if not samples:
        return math.nan
    ordered = sorted(samples)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def median(samples: Sequence[float]) -> float:
    """The middle of the samples; NaN where there are none."""
    return percentile(samples, 0.5)


@dataclass(frozen=True)
class Factor:
    """How many times larger one quantity is than another, and the bounds between which the truth lies."""

    low: float
    middle: float
    high: float

    @property
    def bounded(self) -> bool:
        """Whether there were samples enough for bounds at all."""
        return self.low > 0 and math.isfinite(self.high)


def factor(old: Sequence[float], new: Sequence[float], confidence: float = 0.99) -> Factor:
    """``new`` over ``old``, for independent lists of positive values.

    The median of all pairwise quotients, with the bounds that belong to the rank-sum test (Hodges & Lehmann 1963;
    Moses 1965). No shape of distribution is assumed, so that a few slow outliers move nothing. The bounds are 0 and ∞
    where the lists are too short for ``confidence``: 99 % takes at least 5 values on either side.
    """
    quotients = sorted(after / before for before in old for after in new)
    if not quotients:
        return Factor(0.0, math.nan, math.inf)
    cut = _rank_cut(len(old), len(new), (1 - confidence) / 2)
    if cut == 0:
        return Factor(0.0, median(quotients), math.inf)
    return Factor(quotients[cut - 1], median(quotients), quotients[-cut])


def _rank_cut(m: int, n: int, tail: float) -> int:
    """The largest k with P(U < k) ≤ ``tail``, U being the rank-sum statistic of m and n values from one population."""
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
    """In how many orders of m and n values U is 0, 1, …, mn: the coefficients of the Gaussian binomial (m+n over m)."""
    ways = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for u in range(m * n, n + i - 1, -1):  # times (1 − q^(n+i))
            ways[u] -= ways[u - n - i]
        for u in range(i, m * n + 1):  # over (1 − q^i)
            ways[u] += ways[u - i]
    return ways


def paired(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    """``others`` over ``ones``, round by round, for values measured in turns: what drifts drifts in both."""
    return [other / one for one, other in zip(ones, others, strict=True)]
