"""Members of conditionings → parts of branches: areas and their opposites, masks, strengths and ranges."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.batching.branches import Branch
from engine.batching.members import Member, branches_of, padded
from engine.batching.windows import Shares, Window
from engine.sampling import schedules
from engine.sampling.levels import STABLE_DIFFUSION_1

SHAPE = (1, 4, 32, 48)


def member(number: float, **values: Any) -> Member:
    """One whose tokens are all ``number``."""
    return Member(tokens=torch.full((1, 77, 8), float(number)), **values)


def branches(*prompts: tuple[Member, ...], shape: tuple[int, ...] = SHAPE) -> tuple[Branch, ...]:
    return branches_of(prompts, shape, STABLE_DIFFUSION_1)


def described(branch: Branch) -> list[tuple[int, Window | None]]:
    """The number and the window of each part."""
    return [(int(part.conditioning[0, 0, 0]), part.window) for part in branch.parts]


def joined(branch: Branch, *values: float) -> Tensor:
    """The branch of x where each part predicts one of ``values`` everywhere."""
    x = torch.zeros(SHAPE)
    parts = zip(branch.parts, values, strict=True)
    return branch.joined(x, [torch.full_like(x if p.window is None else p.window.of(x), v) for p, v in parts])


def test_a_plain_prompt_is_one_plain_part() -> None:
    (branch,) = branches((member(1),))
    assert branch.plain
    assert branch.parts[0].first_sigma == math.inf
    assert branch.parts[0].last_sigma == 0.0


def test_prompts_without_areas_are_a_mean_by_their_strengths() -> None:
    (branch,) = branches((member(1), member(2, strength=3.0)))
    torch.testing.assert_close(joined(branch, 1.0, 5.0), torch.full(SHAPE, 4.0))


def test_the_other_prompt_gets_its_own_words_for_an_area() -> None:
    left = Window(0, 0, 32, 24)
    positive, negative = branches((member(1), member(2, area=left, strength=0.5, start=0.2)), (member(3),))
    assert described(positive) == [(1, None), (2, left)]
    assert described(negative) == [(3, None), (3, left)]
    mine, theirs = positive.parts[1], negative.parts[1]
    assert mine.weight is not None
    assert theirs.weight is not None
    assert torch.equal(mine.weight, theirs.weight)
    assert (mine.first_sigma, mine.last_sigma) == (theirs.first_sigma, theirs.last_sigma)


def test_the_words_for_an_area_are_those_of_the_smallest_area_around_it() -> None:
    inner, outer, far = Window(8, 8, 8, 8), Window(4, 4, 20, 20), Window(24, 24, 8, 8)
    negative = (member(3), member(4, area=Window(0, 0, 30, 30)), member(5, area=outer), member(6, area=far))
    _, found = branches((member(1, area=inner),), negative)
    assert described(found)[4:] == [(5, inner)]


def test_an_area_that_the_other_prompt_has_too_is_not_added() -> None:
    left = Window(0, 0, 32, 24)
    positive, negative = branches((member(1, area=left),), (member(2, area=left, strength=2.0),))
    assert described(positive) == [(1, left)]
    assert described(negative) == [(2, left)]


def test_where_nothing_of_the_other_prompt_reaches_nothing_is_added() -> None:
    positive, negative = branches((member(1, area=Window(0, 0, 8, 8)),), (member(2, area=Window(16, 16, 8, 8)),))
    assert described(positive) == [(1, Window(0, 0, 8, 8))]
    assert described(negative) == [(2, Window(16, 16, 8, 8))]


def test_of_three_prompts_each_gets_the_areas_of_the_others() -> None:
    a, b = Window(0, 0, 16, 48), Window(16, 0, 16, 48)
    found = branches((member(1), member(2, area=a)), (member(3), member(4, area=b)), (member(5),))
    windows = [{window for _, window in described(branch)} for branch in found]
    assert windows == [{None, a, b}] * 3


def test_an_area_is_cut_at_the_border_and_one_of_the_whole_picture_is_none() -> None:
    beyond, whole = Window(16, 24, 32, 64), Shares(0, 0, 1, 1)
    (branch,) = branches((member(1, area=beyond), member(2, area=whole)))
    assert described(branch) == [(1, Window(16, 24, 16, 24)), (2, None)]
    assert branch.parts[1].plain


def test_outside_every_area_the_prediction_is_0() -> None:
    (branch,) = branches((member(1, area=Window(0, 0, 32, 24)),))
    found = joined(branch, 7.0)
    torch.testing.assert_close(found[..., :24], torch.full((1, 4, 32, 24), 7.0))
    assert (found[..., 24:] == 0).all()


def test_a_mask_is_a_weight_without_a_window_unless_its_bounds_are_asked_for() -> None:
    mask = torch.zeros(1, *SHAPE[2:])
    mask[:, 4:20, 10:30] = 0.5
    marked = member(1, mask=mask, mask_strength=0.5, strength=2.0)
    ((whole,), (part,)) = (
        branch.parts for (branch,) in (branches((marked,)), branches((dataclasses.replace(marked, mask_bounds=True),)))
    )
    assert whole.weight is not None
    assert part.weight is not None
    assert whole.window is None
    assert torch.equal(whole.weight[:, 0], mask)
    assert part.window == Window(4, 10, 16, 20)
    assert (part.weight == 0.5).all()  # no fade: a mask has its own edges


def test_a_mask_within_an_area_is_cut_to_it() -> None:
    mask = torch.rand(1, *SHAPE[2:])
    area = Window(8, 8, 16, 16)
    (branch,) = branches((member(1, mask=mask, area=area),))
    assert branch.parts[0].weight is not None
    assert torch.equal(branch.parts[0].weight[:, 0], area.of(mask))


def test_each_picture_of_a_batch_has_its_own_mask() -> None:
    masks = torch.rand(2, *SHAPE[2:])
    (branch,) = branches((member(1, mask=masks),), shape=(4, *SHAPE[1:]))
    second = branch.parts[0].of_pictures(slice(1, 2)).weight
    assert second is not None
    assert torch.equal(second[:, 0], masks[1:])


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
def test_a_step_on_the_end_of_a_range_belongs_to_it(share: float) -> None:
    """To the last bit: ``normal`` with six steps has these sigmas."""
    sigmas = schedules.sigmas(sampler="euler", scheduler="normal", steps=6, denoise=1.0)
    (before,), (behind,) = (branches((member(1, **range_),))[0].parts for range_ in ({"end": share}, {"start": share}))
    on = [sigma for sigma in sigmas if before.active(sigma, 0) and behind.active(sigma, 0)]
    assert len(on) == 1
    assert all(before.active(sigma, 0) or behind.active(sigma, 0) for sigma in sigmas)


def test_padded_prompts_have_one_length() -> None:
    long = dataclasses.replace(member(1), tokens=torch.arange(154.0).view(1, 154, 1).expand(-1, -1, 8))
    short, filler = member(2), torch.full((1, 77, 8), 3.0)
    for positive, negative in ((long, short), (short, long)):
        (one,), (other,) = padded([(positive,), (negative,)], filler)
        shorter = other if negative is short else one
        assert one.tokens.shape == other.tokens.shape == (1, 154, 8)
        assert torch.equal(shorter.tokens, torch.cat([short.tokens, filler], dim=1))
    _, (repeated,) = padded([(long,), (dataclasses.replace(long, tokens=long.tokens[:, :77]),)], None)
    assert torch.equal(repeated.tokens[0, 77:, 0], torch.full((77,), 76.0))
    (kept,), (cut,) = padded([(short,), (long,)], None)
    assert kept is short
    assert torch.equal(cut.tokens, long.tokens[:, :77])
