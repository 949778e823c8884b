"""Pictures of prompts in AUTOMATIC1111's language: each construct changes what it says it changes, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from engine import Engine, GenerationRequest


def latents(engine: Engine, prompt: str, **fields: Any) -> Tensor:
    small = {"width": 64, "height": 64, "steps": 4, "cfg_scale": 100.0, "seed": 5, "negative_prompt": "night"}
    return engine.generate(GenerationRequest(prompt=prompt, prompt_syntax="a1111", **{**small, **fields})).latents


def close(engine: Engine, one: Tensor, other: Tensor) -> bool:
    """Whether two differ by far less than two prompts do: words change little of what the tiny network draws."""
    words = latents(engine, "boat") - latents(engine, "tower")
    return float((one - other).norm()) < 0.01 * float(words.norm())


def test_plain_words_are_the_same_in_both_languages(engine: Engine) -> None:
    fields: dict[str, Any] = {"width": 64, "height": 64, "steps": 4, "cfg_scale": 100.0, "seed": 5}
    request = GenerationRequest(prompt="a red boat", negative_prompt="night", **fields)
    assert latents(engine, "a red boat").equal(engine.generate(request).latents)


@pytest.mark.parametrize(
    ("prompt", "same"),
    [
        ("[boat:tower:0]", "tower"),
        ("[boat:tower:1.0]", "boat"),
        ("[boat|boat]", "boat"),
        ("boat AND tower :0", "boat"),
        ("boat AND tower", "tower AND boat"),
        ("boat AND boat", "boat :2"),
        ("boat AND tower :-0.5 AND tower :0.5", "boat"),
    ],
)
def test_what_means_the_same_gives_the_same_picture(engine: Engine, prompt: str, same: str) -> None:
    assert close(engine, latents(engine, prompt), latents(engine, same))


def test_each_construct_counts(engine: Engine) -> None:
    prompts = [
        "boat tower",
        "[boat:tower:2]",
        "[boat:tower:3]",
        "[boat|tower]",
        "boat AND tower",
        "boat BREAK tower",
        "[boat] tower",
    ]
    made = [latents(engine, prompt) for prompt in prompts]
    assert not any(one.equal(other) for number, one in enumerate(made) for other in made[:number])


def test_an_edit_counts_from_the_evaluation_behind_its_number(engine: Engine) -> None:
    """The first text of ``[a:b:1]`` is that of evaluations 0 and 1: with two steps the other one never counts."""
    assert latents(engine, "[boat:tower:1]", steps=2).equal(latents(engine, "boat", steps=2))
    assert not latents(engine, "[boat:tower:1]", steps=3).equal(latents(engine, "boat", steps=3))


def test_cfg_scale_1_leaves_and_alone_with_its_negative_prompt(engine: Engine) -> None:
    """Unlike one prompt's guidance, that of several at a scale of 1 depends on the negative prompt."""
    one, other = (latents(engine, "boat AND tower", cfg_scale=1, negative_prompt=text) for text in ("night", "day"))
    assert not one.equal(other)
