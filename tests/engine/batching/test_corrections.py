"""Corrections of guidance, with predictions that the test makes up."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.batching.branches import Branch, Part
from engine.batching.corrections import Correction, PerturbedAttention, SelfAttention
from engine.batching.guidance import (
    ClassifierFree,
    Course,
    Dual,
    Guidance,
    Guided,
    PerpendicularNegative,
    Predictions,
    Unguided,
    rescaled,
)
from engine.networks.attending import NoteAttention, SeeNothing
from engine.sampling.parametrization import EPS

SIGMA = torch.tensor(2.0)
X = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
NOTED = torch.tensor([[2.0, 0.5, 0.5, 1.0]])
"""Of the 2 × 2 places of the middle the network looks most at the first."""


def branches(count: int) -> list[Branch]:
    return [Branch(parts=(Part(conditioning=torch.full((1, 77, 1), float(i))),)) for i in range(count)]


def denoised(branch: Branch) -> float:
    """What is predicted everywhere: the number of the prompt, and 10 more where nothing is seen."""
    part = branch.parts[0]
    return float(part.conditioning[0, 0, 0]) + 10 * any(isinstance(patch, SeeNothing) for patch in part.patches)


def run(course: Course) -> tuple[Guided, list[Tensor]]:
    """What comes of a course, and the x of each time that it asked."""
    asked = []
    try:
        ask = next(course)
        while True:
            asked.append(ask.x)
            values = [torch.full_like(ask.x, denoised(branch)) for branch in ask.branches]
            noting = [any(isinstance(patch, NoteAttention) for patch in each.parts[0].patches) for each in ask.branches]
            beside = [[NOTED] if each else [] for each in noting]
            ask = course.send(Predictions(ask.x, SIGMA, values, EPS, False, beside))
    except StopIteration as stop:
        return stop.value, asked


def corrected(guidance: Guidance, count: int, *corrections: Correction) -> tuple[Tensor, list[Tensor]]:
    prompts = tuple(branches(count))
    for correction in corrections:
        guidance, prompts = correction.around(guidance, prompts)
    guided, asked = run(guidance.course(X, SIGMA, prompts))
    return guided.denoised, asked


RULES: list[tuple[Guidance, int, float]] = [
    (Unguided(), 1, 0.0),
    (ClassifierFree(scale=3.0), 2, 1 + 3 * (0 - 1)),
    (Dual(scale=3.0, middle_scale=2.0, nested=False), 3, 2 + 2 * (1 - 2) + 3 * (0 - 1)),
    (Dual(scale=3.0, middle_scale=2.0, nested=True), 3, 2 + 2 * ((1 + 3 * (0 - 1)) - 2)),
    (PerpendicularNegative(scale=3.0, negative_scale=1.0), 3, -4.0),
]
"""Rules, the number of their prompts, and what they make of prompts that predict their own number."""


@pytest.mark.parametrize(("rule", "count", "plain"), RULES)
def test_what_is_predicted_without_seeing_is_pushed_away(rule: Guidance, count: int, plain: float) -> None:
    found, asked = corrected(rule, count, PerturbedAttention(scale=0.5))
    weight = 2.0 if isinstance(rule, Dual) and rule.nested else 1.0
    assert len(asked) == 1  # together with the prompts
    assert torch.allclose(found, torch.full_like(X, plain + weight * 0.5 * -10))


def test_two_corrections_add_up_in_any_order() -> None:
    one, other = PerturbedAttention(scale=0.5), SelfAttention(scale=0.7, blur=1.0)
    rule = ClassifierFree(scale=3.0)
    both, reverse = (corrected(rule, 2, *each)[0] for each in ((one, other), (other, one)))
    single = [corrected(rule, 2, each)[0] - corrected(rule, 2)[0] for each in (one, other)]
    assert torch.allclose(both, corrected(rule, 2)[0] + sum(single), atol=1e-6)
    assert torch.allclose(both, reverse)


def test_the_negative_prediction_is_blurred_where_the_network_looks_most() -> None:
    guidance, prompts = SelfAttention(scale=1.0, blur=1.0).around(ClassifierFree(scale=3.0), tuple(branches(2)))
    course = guidance.course(X, SIGMA, prompts)
    ask = next(course)
    negative = torch.zeros_like(X)
    negative[..., 2, 2] = negative[..., 6, 6] = 1.0
    values = [torch.zeros_like(X), negative, *[torch.zeros_like(X)] * (len(ask.branches) - 2)]
    again = course.send(Predictions(ask.x, SIGMA, values, EPS, False, [[NOTED]] * len(ask.branches)))
    blurred = again.x - X + negative
    assert float(blurred[0, 0, 2, 2]) < 0.5  # in the quarter that is looked at
    assert float(blurred[0, 0, 6, 6]) == pytest.approx(1.0)
    assert [prompt.parts[0].patches for prompt in again.branches] == [()]


def test_pictures_too_small_to_be_blurred_are_left() -> None:
    guidance, prompts = SelfAttention(scale=1.0, blur=1.0).around(ClassifierFree(scale=3.0), tuple(branches(2)))
    guided, asked = run(guidance.course(X[..., :4, :], SIGMA, prompts))
    assert len(asked) == 1
    assert torch.allclose(guided.denoised, torch.full_like(guided.denoised, -2.0))


def test_rescaled_guidance_has_the_spread_of_the_positive_prediction() -> None:
    cond, uncond = torch.randn(2, 2, 4, 8, 8)
    x = torch.randn(2, 4, 8, 8)

    def spread(each: Tensor) -> Tensor:
        """Of the velocity that a denoised prediction stands for."""
        return ((x / 5 - each) * 5**0.5 / 2).std((1, 2, 3))

    guided = rescaled(x, SIGMA, cond, uncond, 7.0, 1.0)
    assert torch.allclose(spread(guided), spread(cond), rtol=1e-4)
    assert torch.equal(rescaled(x, SIGMA, cond, uncond, 7.0, 0.0), uncond + 7 * (cond - uncond))
    assert torch.allclose(rescaled(x, SIGMA, cond, uncond, 1.0, 0.6), cond, atol=1e-5)
