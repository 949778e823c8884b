"""Captions say nothing but what the scene holds, in words that the tokenizer and the text encoder know."""

import random

import pytest
import torch

from models.starter.caption_bank import write_captions
from models.starter.captions import ANSWERS, answers_of, caption, empty_caption
from models.starter.tokens import known_tokens, tokens_of, with_strange_words
from models.starter.world import draw_scene

MANY = range(300)


def test_a_caption_says_only_what_the_scene_holds() -> None:
    for seed in MANY:
        scene = draw_scene(seed)
        said = caption(scene, random.Random(seed)).said
        for name in ("sky", "land", "subject", "colour", "place", "content", "light"):
            assert said.get(name, getattr(scene, name)) == getattr(scene, name)
        assert said.get("count", str(scene.count)) == str(scene.count)
        assert "clouds" not in said or scene.clouds


def test_the_colour_that_is_said_stands_in_the_text() -> None:
    for seed in MANY:
        captioned = caption(draw_scene(seed), random.Random(seed))
        if captioned.said.get("colour") == "blue":
            assert "blue" in captioned.text or "azure" in captioned.text


def test_the_same_lot_gives_the_same_caption_and_others_differ() -> None:
    scene = draw_scene(1)
    assert caption(scene, random.Random(5)) == caption(scene, random.Random(5))
    assert len({caption(scene, random.Random(i)).text for i in range(50)}) > 40


def test_an_empty_caption_asks_for_nothing() -> None:
    texts = [empty_caption(random.Random(i)) for i in range(50)]
    assert all(not each.said for each in texts)
    assert any(each.text == "" for each in texts)
    assert answers_of(texts[0]) == [0] * len(ANSWERS)


def test_every_word_of_a_caption_is_known_to_the_text_encoder() -> None:
    known = known_tokens()
    assert 100 < known.sum() < 600
    for seed in MANY:
        tokens = tokens_of([caption(draw_scene(seed), random.Random(seed)).text])
        assert known[tokens].all()


@pytest.mark.parametrize("seed", range(20))
def test_strange_words_never_overfill_the_77_places(seed: int) -> None:
    rng = random.Random(seed)
    ids = with_strange_words("a red boat " * 24, rng)
    assert len(ids) == 77
    assert ids[0] == 49406
    assert ids[-1] == 49407


def test_a_caption_bank_is_the_same_however_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = write_captions(20, 3, torch.device("cpu"))
    assert bank.tokens.shape == (20, 3, 77)
    monkeypatch.setattr("models.starter.caption_bank.BLOCK", 7)
    assert torch.equal(write_captions(20, 3, torch.device("cpu")).tokens, bank.tokens)


def test_answers_belong_to_the_scene_that_was_asked_for() -> None:
    bank = write_captions(30, 4, torch.device("cpu"))
    scenes = torch.arange(30)
    tokens, answers = bank.draw(scenes, torch.Generator().manual_seed(0))
    assert tokens.shape == (30, 77)
    for seed, row in zip(scenes.tolist(), answers.tolist(), strict=True):
        scene = draw_scene(seed)
        for (name, values), answer in zip(ANSWERS.items(), row, strict=True):
            if answer and name not in ("clouds", "stars", "count"):
                assert values[answer - 1] == getattr(scene, name)
    assert answers.any()
