"""Requests and arrival times are seeded, varied and distributed as they should be."""

from __future__ import annotations

import itertools
import statistics

import pytest

from benchmarks.measuring.workloads import SAMPLERS, Alone, Mixed, Scale, alone, arrivals
from engine.workflow.needs import needs_of

SCALE = Scale(size=64, steps=20)


def test_requests_depend_on_the_seed_alone() -> None:
    one, same, other = (list(itertools.islice(Mixed(SCALE, seed), 50)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_the_mix_is_mixed_and_valid() -> None:
    requests = list(itertools.islice(Mixed(SCALE, 0), 400))
    low, high = SCALE.mixed_steps
    assert {request.sampler for request in requests} == set(SAMPLERS)
    assert {request.steps for request in requests} == set(range(low, high + 1))
    assert statistics.mean(request.steps for request in requests) == pytest.approx(SCALE.steps, rel=0.05)
    assert len({request.prompt for request in requests}) > 100
    assert len({request.seed for request in requests}) == 400
    assert all(list(needs_of(request.workflow()).steps.values()) == [request.steps] for request in requests)


def test_single_requests_have_prompts_and_seeds_of_their_own() -> None:
    requests = list(itertools.islice(Alone(SCALE, 5), 20))
    assert requests[0] == alone(SCALE, 5)
    assert len({request.prompt for request in requests}) == len({request.seed for request in requests}) == 20


def test_arrivals_are_seeded() -> None:
    assert arrivals(5.0, 10.0, 1) == arrivals(5.0, 10.0, 1)
    assert arrivals(5.0, 10.0, 1) != arrivals(5.0, 10.0, 2)


def test_arrivals_are_a_poisson_process() -> None:
    times = arrivals(8.0, 2000.0, 3)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < 2000
    assert len(times) == pytest.approx(16_000, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.05)  # as for exponential gaps
    assert statistics.correlation(gaps[:-1], gaps[1:]) == pytest.approx(0, abs=0.03)
