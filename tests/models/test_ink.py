"""Edges and ink drawings: lines are where the picture changes; a drawing is ink on paper, in the scene's places."""

import torch

from models.starter.canvas import rgb
from models.starter.edges import blurred, canny, light
from models.starter.ink import INK, PAPER, draw
from models.starter.scenes import render
from models.starter.world import draw_scene


def disc(height: float, size: int = 64, radius: float = 20) -> torch.Tensor:
    """A disc of a grey on black, (1, 1, size, size)."""
    steps = torch.arange(size) - size / 2
    return height * (radius + 0.5 - torch.hypot(steps[:, None], steps[None, :])).clamp(0, 1)[None, None]


def test_the_edge_of_a_disc_is_a_thin_ring() -> None:
    edges = canny(disc(1.0), 0.1, 0.2)[0, 0]
    y, x = edges.nonzero().T
    distance = torch.hypot(y - 32.0, x - 32.0)
    assert ((distance - 20).abs() < 1.6).all()
    assert set(edges.unique().tolist()) == {0.0, 1.0}
    around = 2 * torch.pi * 20
    assert 0.8 * around < len(y) < 1.3 * around
    turns = torch.atan2(y - 32.0, x - 32.0).sort().values
    assert turns.diff().max() < 0.2, "the ring has a gap"


def test_a_step_between_two_pixels_is_one_line() -> None:
    step = torch.zeros(1, 1, 16, 16)
    step[..., 8:] = 1
    assert canny(step, 0.4, 0.8).sum((0, 1, 2)).nonzero().flatten().tolist() in ([7], [8])


def test_a_weak_edge_counts_where_it_goes_on_from_a_strong_one() -> None:
    ramp = torch.linspace(0.02, 0.6, 64).expand(64, 64).clone()  # its lower edge grows stronger to the right
    ramp[32:] = 0
    edges = canny(ramp[None, None], 0.2, 1.0)[0, 0, 25:40]
    weak_only = canny(ramp[None, None, :, :24], 0.2, 1.0)
    assert edges[:, 16:24].any()
    assert not weak_only.any()
    assert not edges[:, :4].any()


def test_no_edge_is_seen_below_the_threshold() -> None:
    assert canny(disc(0.1), 0.1, 0.2).any()
    assert not canny(disc(0.1), 0.4, 0.8).any()


def test_colours_of_equal_light_have_an_edge_only_in_colour() -> None:
    red, green = 0.587 * rgb(1, 0, 0, like=torch.zeros(1)), 0.299 * rgb(0, 1, 0, like=torch.zeros(1))
    picture = torch.where(torch.arange(32) < 16, red, green).expand(1, 3, 32, 32)
    assert canny(picture, 0.4, 0.8).any()
    assert not canny(light(picture), 0.1, 0.2).any()


def test_blurring_keeps_the_mean_and_spreads_by_sigma() -> None:
    dot = torch.zeros(1, 2, 41, 41)
    dot[:, :, 20, 20] = 1
    soft = blurred(dot, 3.0)
    places = torch.arange(41.0) - 20
    torch.testing.assert_close(soft.sum((2, 3)), torch.ones(1, 2))
    torch.testing.assert_close((soft.sum(2) * places**2).sum(-1).sqrt(), torch.full((1, 2), 3.0), atol=0.1, rtol=0)


def test_a_drawing_is_ink_thin_or_thick_on_paper() -> None:
    drawings = draw([draw_scene(seed) for seed in range(6)], 128).movedim(1, -1)
    paper, ink = torch.tensor(PAPER), torch.tensor(INK)
    share = ((drawings - paper) @ (ink - paper)) / (ink - paper).square().sum()  # of ink, in each pixel
    mixed = paper + share[..., None] * (ink - paper)
    assert ((drawings - mixed).abs() < 0.06).all(), "there is another colour"
    assert 0.03 < (share > 0.9).float().mean() < 0.6
    assert (share < 0.1).float().mean() > 0.2


def test_a_drawing_keeps_the_places_and_the_light_of_its_scene() -> None:
    scenes = [draw_scene(seed) for seed in range(24)]
    painted, drawn = light(render(scenes, 128)), light(draw(scenes, 128))
    coarse = [torch.nn.functional.avg_pool2d(x, 16).flatten(1) for x in (painted, drawn)]
    alike = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(*coarse, strict=True)])
    assert alike.mean() > 0.5
    nights = torch.tensor([scene.sky == "night" for scene in scenes])
    days = torch.tensor([scene.sky == "day" for scene in scenes])
    assert drawn[nights].mean() < drawn[days].mean() - 0.1


def test_a_drawing_looks_the_same_alone_and_in_a_batch() -> None:
    scenes = [draw_scene(seed) for seed in (3, 8, 11)]
    torch.testing.assert_close(draw(scenes[1:2], 64), draw(scenes, 64)[1:2], atol=1e-3, rtol=0)
