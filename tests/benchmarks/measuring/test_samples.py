"""Statistics of samples, and when two lists differ by more than chance."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measuring.samples import _rank_sum_ways, factor, median, paired, percentile
from tests.benchmarks.made_reports import around

values = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30)


@given(values, st.floats(0, 1), st.floats(0, 1))
def test_a_percentile_lies_among_the_samples_and_rises_with_its_share(
    samples: list[float], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert min(samples) <= percentile(samples, low) <= percentile(samples, high) * (1 + 1e-12)
    assert percentile(samples, high) <= max(samples) * (1 + 1e-12)


@given(values)
def test_the_median_equals_pythons(samples: list[float]) -> None:
    assert median(samples) == pytest.approx(statistics.median(samples))


def test_percentiles_of_a_known_list() -> None:
    assert percentile([4, 1, 3, 2, 5], 0.25) == 2
    assert percentile([0, 10], 0.95) == pytest.approx(9.5)
    assert math.isnan(percentile([], 0.5))


@pytest.mark.parametrize(("m", "n"), [(1, 1), (2, 3), (4, 4), (5, 2)])
def test_rank_sums_are_counted_as_if_every_order_were_tried(m: int, n: int) -> None:
    counts = [0] * (m * n + 1)
    for places in itertools.combinations(range(m + n), m):
        counts[sum(places) - m * (m - 1) // 2] += 1
    assert _rank_sum_ways(m, n) == counts


@given(values, st.floats(0.1, 10))
def test_a_list_times_a_number_is_that_many_times_the_list(samples: list[float], times: float) -> None:
    found = factor(samples, [value * times for value in samples])
    assert found.middle == pytest.approx(times)
    assert found.low <= found.middle <= found.high


@pytest.mark.parametrize(("old", "new", "trials"), [(5, 5, 400), (8, 6, 400), (40, 40, 60)])
def test_lists_of_one_population_differ_in_one_of_a_hundred_trials(old: int, new: int, trials: int) -> None:
    missed = 0
    for seed in range(trials):
        found = factor(around(1.0, old, seed), around(1.0, new, seed + 10_000))
        missed += not found.low <= 1 <= found.high
    assert missed <= 0.03 * trials


@pytest.mark.parametrize("count", [12, 40])
def test_a_tenth_more_is_found_in_two_per_cent_of_noise(count: int) -> None:
    seen = [factor(around(1.0, count, seed), around(1.1, count, seed + 500)) for seed in range(50)]
    assert sum(found.low > 1 for found in seen) >= 48
    assert sum(found.low <= 1.1 <= found.high for found in seen) >= 48


def test_too_short_lists_have_no_bounds() -> None:
    assert not factor([1.0] * 4, [2.0] * 4).bounded
    assert factor([1.0] * 5, [2.0] * 5).bounded
    assert not factor([1.0], []).bounded


def test_one_outlier_changes_nothing() -> None:
    calm = [1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01]
    assert factor(calm, [*calm[:-1], 50.0]).low <= 1


def test_pairs_are_compared_round_by_round() -> None:
    assert paired([1.0, 2.0], [3.0, 3.0]) == [3.0, 1.5]
    with pytest.raises(ValueError, match="zip"):
        paired([1.0], [1.0, 2.0])
