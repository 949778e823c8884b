"""The renderer: what a scene says is what the picture shows, whatever the batch and the size."""

from dataclasses import replace

import pytest
import torch

from models.starter.scenes import render
from models.starter.world import COLOURS, CONTENTS, LANDS, SKIES, SUBJECTS, Scene, draw_scene

PLAIN = Scene(
    seed=7, sky="day", light="none", clouds=False, land="sea",
    subject="none", count=1, colour="red", place="centre", content="galaxy",
)  # fmt: skip
SEEDS = range(5)


def picture(scene: Scene, size: int = 64) -> torch.Tensor:
    return render([scene], size)[0]


def redness(pixels: torch.Tensor) -> float:
    return float((pixels[0] - pixels[2]).mean())


def test_the_same_seed_gives_the_same_picture_and_another_gives_another() -> None:
    assert torch.equal(picture(draw_scene(3)), picture(draw_scene(3)))
    assert not torch.allclose(picture(draw_scene(3)), picture(replace(draw_scene(3), seed=4)), atol=0.05)


def test_a_scene_looks_the_same_alone_and_in_a_batch() -> None:
    scenes = [draw_scene(seed) for seed in range(40)]
    together = render(scenes, 32)
    for scene, pixels in zip(scenes, together, strict=True):
        torch.testing.assert_close(render([scene], 32)[0], pixels, atol=1e-5, rtol=0)


def test_every_kind_of_thing_is_painted_within_the_range_of_colours() -> None:
    scenes = [replace(PLAIN, sky=sky, land=land) for sky in SKIES for land in LANDS]
    scenes += [replace(PLAIN, subject=s, colour=c, count=k) for s in SUBJECTS for c in COLOURS for k in (1, 2, 3)]
    scenes += [replace(PLAIN, subject="bottle", content=content) for content in CONTENTS]
    pictures = render(scenes, 32)
    assert pictures.isfinite().all()
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert (pictures.flatten(1).std(1) > 0.02).all()


def test_a_larger_picture_is_the_same_scene() -> None:
    scenes = [draw_scene(seed) for seed in range(8)]
    small, large = render(scenes, 64), render(scenes, 192)
    shrunk = torch.nn.functional.avg_pool2d(large, 3)
    assert (small - shrunk).abs().mean() < 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_night_is_darker_than_day(seed: int) -> None:
    scene = replace(draw_scene(seed), sky="day", light="none")
    assert picture(replace(scene, sky="night")).mean() < 0.7 * picture(scene).mean()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("subject", ["boat", "house", "lighthouse", "tree", "bottle"])
def test_a_red_thing_is_redder_than_a_blue_one_where_it_stands(subject: str, seed: int) -> None:
    without = replace(PLAIN, seed=seed)
    red, blue = (picture(replace(without, subject=subject, colour=colour)) for colour in ("red", "blue"))
    there = (red - blue).abs().sum(0) > 0.15
    assert 0.005 < there.float().mean() < 0.5
    assert redness(red[:, there]) > redness(blue[:, there]) + 0.2


@pytest.mark.parametrize("subject", ["boat", "house", "lighthouse", "tree", "bottle"])
def test_a_thing_on_the_left_is_on_the_left(subject: str) -> None:
    empty = replace(PLAIN, land="lake")
    for place, half in (("left", slice(0, 32)), ("right", slice(32, 64))):
        changed = (picture(replace(empty, subject=subject, place=place)) - picture(empty)).abs().sum(0)
        assert changed[:, half].sum() > 2 * (changed.sum() - changed[:, half].sum())


def test_as_many_lighthouses_stand_there_as_are_counted() -> None:
    for count in (1, 2, 3):
        many = replace(PLAIN, subject="lighthouse", count=count)
        changed = (picture(many, 128) - picture(PLAIN, 128)).abs().sum(0)[62:72].amax(0) > 0.25  # half-way up
        starts = (changed[1:] & ~changed[:-1]).sum() + changed[0]
        assert starts == count


def test_the_sun_makes_its_place_brighter() -> None:
    dull = replace(PLAIN, sky="sunset")
    difference = (picture(replace(dull, light="sun")) - picture(dull)).mean(0)
    assert difference.max() > 0.1
    assert difference[:40].mean() > 0
