"""The starter checkpoint obeys its prompts: end to end, from words to pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from engine import Control, Engine, EngineConfig, GenerationRequest, Lora
from engine.folders import SHIPPED_MODELS

pytestmark = pytest.mark.slow

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def starter() -> Iterator[Engine]:
    with Engine(EngineConfig(checkpoint="starter", models_folders=(SHIPPED_MODELS,), device="cpu")) as engine:
        yield engine


def pictures(engine: Engine, prompt: str, negative_prompt: str = "") -> list[NDArray[numpy.float64]]:
    """One picture for each seed: (256, 256, 3), 0 … 1."""
    requests = [
        GenerationRequest(
            prompt=prompt, negative_prompt=negative_prompt, width=256, height=256, steps=10, cfg_scale=6, seed=seed
        )
        for seed in SEEDS
    ]
    handles = [engine.submit(request) for request in requests]
    return [numpy.asarray(handle.result().images[0]) / 255 for handle in handles]


def redness(picture: NDArray[numpy.float64]) -> float:
    """Share of pixels that are clearly red."""
    red, green, blue = picture.transpose(2, 0, 1)
    return float(((red > green + 0.3) & (red > blue + 0.3)).mean())


def test_a_red_boat_is_redder_than_a_blue_boat(starter: Engine) -> None:
    red = pictures(starter, "a red boat on the sea, day")
    blue = pictures(starter, "a blue boat on the sea, day")
    for one, other in zip(red, blue, strict=True):
        assert redness(one) > redness(other) + 0.01


def test_night_is_darker_than_day(starter: Engine) -> None:
    night = pictures(starter, "a house in the hills at night")
    day = pictures(starter, "a house in the hills, sunny day")
    for dark, bright in zip(night, day, strict=True):
        assert dark.mean() < bright.mean() - 0.1


def test_the_negative_prompt_removes_what_it_names(starter: Engine) -> None:
    plain = pictures(starter, "mountains")  # at night, where the prompt says nothing of the sky
    without = pictures(starter, "mountains", negative_prompt="night")
    for dark, bright in zip(plain, without, strict=True):
        assert dark.mean() < bright.mean() - 0.1


def test_seeds_differ_in_the_picture_of_the_same_thing(starter: Engine) -> None:
    one, other, _ = pictures(starter, "a red boat on the sea, day")
    assert abs(one - other).mean() > 0.02


def test_its_lora_draws_in_ink_and_its_controlnet_puts_things_where_the_edges_are(starter: Engine) -> None:
    edges = Image.new("RGB", (128, 128))
    ImageDraw.Draw(edges).rectangle((20, 30, 60, 110), outline="white", width=2)
    request = GenerationRequest(prompt="a red boat", width=128, height=128, steps=6, cfg_scale=4, seed=1)
    inked = dataclasses.replace(request, loras=(Lora(name="starter-ink"),))
    steered = dataclasses.replace(request, controls=(Control(model="starter-edges", image="edges"),))
    plain, drawn, placed = (
        numpy.asarray(starter.generate(each, inputs=[{"edges": edges}]).images[0]) / 255
        for each in (request, inked, steered)
    )
    assert colourfulness(drawn) < colourfulness(plain) / 2
    assert numpy.abs(placed - plain).mean() > 0.01


def colourfulness(picture: NDArray[numpy.float64]) -> float:
    """How far apart a pixel's channels are, on average."""
    return float((picture.max(axis=2) - picture.min(axis=2)).mean())
