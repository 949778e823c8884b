"""Repainting: what a mask keeps, how its thresholds move, and what an inpainting network is given beside x."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from engine.batching.branches import Branch, Part
from engine.batching.guidance import Guidance, Guided, Predictions, Unguided
from engine.batching.inpainting import Keeping, KeepingBefore, Repainting, Thresholds, noise_mask_for, with_channels
from engine.batching.members import MaskedLatents, Member
from engine.sampling.levels import STABLE_DIFFUSION_1
from engine.sampling.parametrization import EPS

SHAPE = (2, 4, 8, 6)
BRANCHES: Sequence[Branch] = (Branch(parts=(Part(conditioning=torch.zeros(1, 77, 8)),)),)


def run(rule: Guidance, x: Tensor, sigma: Tensor, eps: Tensor) -> tuple[Tensor, Guided]:
    """What the network is given for x, and what comes of it where it predicts ``eps``."""
    course = rule.course(x, sigma, BRANCHES)
    ask = next(course)
    with pytest.raises(StopIteration) as end:
        course.send(Predictions(ask.x, sigma, [eps], EPS, eps=True))
    return ask.x, end.value.value


def rule(mask: Tensor, thresholds: Thresholds | None = None) -> Repainting:
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(SHAPE, generator=generator) for _ in range(2))
    return Repainting(guidance=Unguided(), mask=mask, latents=latents, noise=noise, thresholds=thresholds)


def test_the_latents_stay_where_the_mask_is_0_and_guidance_rules_where_it_is_1() -> None:
    mask = torch.zeros(2, 1, 8, 6)
    mask[..., :3] = 1
    repainting, x, eps, sigma = rule(mask), torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor(2.0)
    given, guided = run(repainting, x, sigma, eps)
    torch.testing.assert_close(given[..., :3], x[..., :3])
    torch.testing.assert_close(given[..., 3:], (repainting.latents + repainting.noise * sigma)[..., 3:])
    assert torch.equal(guided.denoised[..., 3:], repainting.latents[..., 3:])
    torch.testing.assert_close(guided.denoised[..., :3], (x - sigma * eps)[..., :3])


def test_a_mask_of_ones_changes_nothing() -> None:
    x, eps, sigma = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor(3.0)
    given, guided = run(rule(torch.ones(2, 1, 8, 6)), x, sigma, eps)
    assert torch.equal(given, x)
    torch.testing.assert_close(guided.denoised, x - sigma * eps)


def test_thresholds_open_the_mask_from_its_largest_values_on() -> None:
    first, last = torch.tensor(14.6146), torch.tensor(0.0292)
    thresholds = Thresholds(levels=STABLE_DIFFUSION_1, first_sigma=first, last_sigma=last)
    mask = torch.linspace(0, 1, 11).reshape(1, 1, 1, 11)
    open_cells = [int(thresholds.at(sigma, mask).sum()) for sigma in (first, torch.tensor(1.6156), last)]
    assert open_cells[0] == 1  # the cell of 1 alone
    assert open_cells[0] < open_cells[1] < open_cells[2] == 11
    half = Thresholds(levels=STABLE_DIFFUSION_1, first_sigma=first, last_sigma=last, strength=0.5)
    torch.testing.assert_close(half.at(first, mask), 0.5 * thresholds.at(first, mask) + 0.5 * mask)


def test_masks_are_scaled_smoothly_and_taken_in_turn() -> None:
    masks = torch.stack([torch.zeros(16, 12), torch.ones(16, 12)])
    scaled = noise_mask_for(masks, (3, 4, 8, 6))
    assert scaled.shape == (3, 1, 8, 6)
    assert scaled.mean(dim=(1, 2, 3)).tolist() == [0, 1, 0]
    assert noise_mask_for(masks, (1, 4, 8, 6)).max() == 0
    edge = torch.zeros(1, 4, 4)
    edge[..., 2:] = 1
    assert 0 < float(noise_mask_for(edge, (1, 4, 8, 8))[0, 0, 0, 3]) < 1


def channels_of(member: Member, mask: Tensor | None) -> Tensor:
    (changed,) = with_channels((member,), torch.full(SHAPE, 5.0), mask)
    assert changed.channels is not None
    assert changed.channels.shape == (2, 5, 8, 6)
    return changed.channels


def test_an_inpainting_network_is_shown_the_members_own_picture_first() -> None:
    tokens = torch.zeros(1, 77, 8)
    masked = MaskedLatents(latents=torch.full((1, 4, 8, 6), 2.0), mask=torch.full((1, 64, 48), 0.7))
    own = channels_of(Member(tokens=tokens, masked=masked), torch.zeros(2, 1, 8, 6))
    assert own[:, 0].unique().tolist() == [1]  # rounded
    assert own[:, 1:].unique().tolist() == [2]
    start = channels_of(Member(tokens=tokens), torch.full((2, 1, 8, 6), 0.4))
    assert start[:, 0].unique().tolist() == [0]
    assert start[:, 1:].unique().tolist() == [5]
    grey = channels_of(Member(tokens=tokens), None)
    assert grey[:, 0].unique().tolist() == [1]
    assert [round(float(value), 4) for value in grey[0, 1:, 0, 0]] == [0.8223, -0.6876, 0.6364, 0.138]


def test_the_few_pictures_are_spread_evenly_over_the_many() -> None:
    latents = torch.arange(2.0)[:, None, None, None].expand(2, 4, 8, 6)
    member = Member(tokens=torch.zeros(1, 77, 8), masked=MaskedLatents(latents=latents, mask=torch.ones(1, 8, 6)))
    (changed,) = with_channels((member,), torch.zeros(5, 4, 8, 6), None)
    assert changed.channels is not None
    assert changed.channels[:, 1, 0, 0].tolist() == [0, 0, 1, 1, 1]


def test_what_is_kept_is_predicted_to_be_the_latents_and_seen_as_it_is_sampled() -> None:
    mask = torch.zeros(2, 1, 8, 6)
    mask[..., :3] = 1
    latents, x, eps, sigma = torch.randn(SHAPE), torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor(2.0)
    seen, guided = run(Keeping(guidance=Unguided(), mask=mask, latents=latents), x, sigma, eps)
    assert torch.equal(seen, x)
    assert torch.equal(guided.denoised[..., 3:], latents[..., 3:])
    assert torch.allclose(guided.denoised[..., :3], (x - sigma * eps)[..., :3])


def test_what_is_kept_is_seen_without_noise_and_only_the_predicted_noise_is_taken_from_x() -> None:
    mask = torch.zeros(2, 1, 8, 6)
    mask[..., :3] = 1
    latents, x, eps, sigma = torch.randn(SHAPE), torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor(2.0)
    seen, guided = run(KeepingBefore(guidance=Unguided(), mask=mask, latents=latents), x, sigma, eps)
    given = EPS.network_input(seen, sigma)
    assert torch.allclose(given[..., 3:], latents[..., 3:], atol=1e-6)
    assert torch.equal(seen[..., :3], x[..., :3])
    assert torch.allclose(guided.denoised, x - sigma * eps, atol=1e-5)


def test_a_grey_picture_stands_where_no_picture_is_shown_and_masks_may_keep_their_shades() -> None:
    start, grey = torch.randn(SHAPE), torch.full((1, 4, 8, 6), 0.25)
    own = MaskedLatents(latents=torch.randn(SHAPE), mask=torch.full((1, 8, 6), 0.4), rounded=False)
    (plain, shown) = with_channels(
        (Member(tokens=torch.zeros(1, 77, 8)), Member(tokens=torch.zeros(1, 77, 8), masked=own)), start, None, grey
    )
    assert plain.channels is not None
    assert shown.channels is not None
    assert torch.equal(plain.channels, torch.cat([torch.ones(2, 1, 8, 6), grey.expand(SHAPE)], dim=1))
    assert (shown.channels[:, 0] == 0.4).all()
