"""Which evaluations of a sampling a part takes part in, and guidance towards several prompts."""

from __future__ import annotations

import pytest
import torch

from engine.batching.branches import Branch, Part, Turns
from engine.batching.guidance import Composed, Predictions
from engine.sampling.parametrization import EPS

TOKENS = torch.zeros(1, 77, 4)


def test_an_entry_begins_behind_the_one_before_and_the_first_counts_again_past_the_end() -> None:
    first, second = (Turns(lasts=(4, 10), own=frozenset({entry})) for entry in (0, 1))
    assert [first.has(evaluation) for evaluation in range(13)] == [*[True] * 5, *[False] * 6, True, True]
    assert all(first.has(each) != second.has(each) for each in range(20))


def test_a_branch_has_the_parts_whose_turn_it_is() -> None:
    parts = tuple(Part(conditioning=TOKENS, turns=Turns(lasts=(1, 2, 3), own=frozenset(own))) for own in ({0, 2}, {1}))
    always = Part(conditioning=TOKENS)
    branch = Branch(parts=(*parts, always))
    sigma = torch.tensor(1.0)
    active = [[branch.parts.index(part) for part in branch.at(sigma, evaluation).parts] for evaluation in range(4)]
    assert active == [[0, 2], [0, 2], [1, 2], [0, 2]]


def test_composed_guidance_adds_up_weighted_differences() -> None:
    """cfg 2 with weights 1 and −0.5: the differences are not divided by the sum of the weights."""
    x, sigma = torch.zeros(1, 4, 2, 2), torch.tensor(1.0)
    course = Composed(scales=(2.0, -1.0)).course(x, sigma, ())
    next(course)
    values = [torch.full_like(x, value) for value in (3.0, 5.0, 1.0)]
    with pytest.raises(StopIteration) as ended:
        course.send(Predictions(x, sigma, values, EPS, eps=False))
    guided = ended.value.value
    assert torch.equal(guided.denoised, torch.full_like(x, 1 + 2 * (3 - 1) - (5 - 1)))
    assert torch.equal(guided.unconditional, torch.full_like(x, 1.0))
