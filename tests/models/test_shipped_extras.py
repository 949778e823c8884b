"""The shipped LoRA and ControlNet do what they are shown for: ink takes the colours away, edges are followed."""

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from models.starter.base import Base, load_base
from models.starter.control import Controlled, load_control
from models.starter.edges import blurred, canny, light
from models.starter.extras import EDGES, INK, MODELS
from models.starter.pictures import HELD_OUT
from models.starter.scenes import render
from models.starter.train_unet import decoded, sample
from models.starter.world import draw_scene
from tests.models.test_extras import merge

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture
def base() -> Base:
    return load_base(MODELS / "starter.safetensors", CPU)


def test_both_files_are_small() -> None:
    assert sum((MODELS / name).stat().st_size for name in (INK, EDGES)) <= 6_000_000


def test_the_lora_takes_the_colours_away_by_degrees(base: Base) -> None:
    prompts, chroma = ("a red boat on the sea at sunset", "three pink trees on green hills, day, clouds"), []
    for more in (0.0, 0.5, 0.5):
        merge(base.unet, load_file(MODELS / INK), more)
        pictures = decoded(base.vae, sample(base.painters(), prompts, 256, CPU))
        chroma.append((pictures.amax(1) - pictures.amin(1)).mean((1, 2)))
    assert (chroma[1] < 0.8 * chroma[0]).all()
    assert (chroma[2] < 0.7 * chroma[1]).all()


def test_pictures_follow_the_edges_that_the_controlnet_is_shown(base: Base) -> None:
    prompts = ("a red boat at sunset", "three blue glass bottles, day", "a white tree at night, stars")
    hints = canny(light(render([draw_scene(HELD_OUT + i) for i in (0, 5, 6)], 256)), 0.1, 0.2)
    painter = Controlled(base.unet, load_control(base.unet, load_file(MODELS / EDGES)))
    painter.hint = hints.expand(-1, 3, -1, -1)
    without = decoded(base.vae, sample(base.painters(), prompts, 256, CPU))
    steered = decoded(base.vae, sample(base.painters(painter), prompts, 256, CPU))
    assert (likeness(steered, hints) > likeness(without, hints) + 0.1).all()


def likeness(pictures: Tensor, hints: Tensor) -> Tensor:
    """Return the correlation of the pictures' edges with the hints, both blurred by two pixels; (B,)."""
    both = [blurred(edges, 2.0).flatten(1) for edges in (canny(light(pictures), 0.1, 0.2), hints)]
    return torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(*both, strict=True)])
