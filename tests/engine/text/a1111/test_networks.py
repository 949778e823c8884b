"""Tags of LoRAs in prompts: they are taken out, with their weights, and what else looks like a tag is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadRequest
from engine.text.a1111.networks import LoraTag, only_known, without_tags, written_tag

WEIGHTS = st.floats(-100, 100, allow_nan=False)
TAGS = st.builds(
    LoraTag,
    name=st.text(min_size=1, max_size=9).filter(lambda name: not set(name) & set(":<>=")),
    text_strength=WEIGHTS,
    strength=WEIGHTS,
    rank=st.integers(0, 9999),
)


@pytest.mark.parametrize(
    ("tag", "text", "unet"),
    [
        ("<lora:ink>", 1.0, 1.0),
        ("<lora:ink:0.7>", 0.7, 0.7),
        ("<lora:ink:0.7:0.3>", 0.7, 0.3),
        ("<lora:ink:te=0.2:unet=0.7>", 0.2, 0.7),
        ("<lora:ink:unet=0.7>", 1.0, 0.7),
        ("<lora:ink:te=0.2>", 0.2, 0.2),
        ("<lyco:ink:-0.5>", -0.5, -0.5),
    ],
)
def test_a_tag_says_how_strong_a_lora_is(tag: str, text: float, unet: float) -> None:
    assert without_tags(f"a {tag} boat") == ("a  boat", (LoraTag(name="ink", text_strength=text, strength=unet),))


@pytest.mark.parametrize("tag", ["<lora:ink:1:1:2>", "<lora:ink:dyn=2>", "<lora:ink:1:dyn=2>"])
def test_a_third_number_is_a_rank(tag: str) -> None:
    assert without_tags(tag) == ("", (LoraTag(name="ink", text_strength=1, strength=1, rank=2),))


def test_of_a_lora_named_twice_the_last_weights_count_twice() -> None:
    _, tags = without_tags("<lora:a:0.4> <lora:b> <lora:a:0.3>")
    assert [(tag.name, tag.strength) for tag in tags] == [("a", 0.6), ("b", 1.0)]


@pytest.mark.parametrize(
    "tag",
    [
        "<hypernet:style:1>",
        "<lora:a:1:1:0.5>",
        "<lora:a:1:1:2:3>",
        "<lora:a:much>",
        "<lora::1>",
        "<lora:a:dyn=-4>",
        "<foo:bar>",
    ],
)
def test_what_is_not_supported_is_refused_by_name(tag: str) -> None:
    with pytest.raises(BadRequest) as refused:
        without_tags(f"a cat {tag}", "prompt")
    assert (refused.value.field, refused.value.value) == ("prompt", tag)


@pytest.mark.parametrize("text", ["a < b: c > d", "<3", "<lora:>", "1<2:3"])
def test_what_is_no_tag_stays(text: str) -> None:
    assert without_tags(text) == (text, ())


@given(st.lists(TAGS, max_size=4, unique_by=lambda tag: tag.name), st.text(alphabet="ab <>:", max_size=5))
def test_what_is_written_is_read(tags: list[LoraTag], words: str) -> None:
    try:
        plain, _ = without_tags(words)
    except BadRequest:
        return
    assert without_tags(plain.replace("<", "") + "".join(map(written_tag, tags))) == (
        plain.replace("<", ""),
        tuple(tags),
    )


@pytest.mark.parametrize("name", ["", "a:b", "a<b", "a>b"])
def test_a_name_that_no_tag_can_hold_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="loras"):
        written_tag(LoraTag(name=name, text_strength=1.0, strength=1.0))


def test_tags_of_loras_that_are_not_known_are_left_out() -> None:
    prompt = "a <lora:ink:0.5> <lyco:chalk> <hypernet:chalk:1> boat"
    assert only_known(prompt, {"ink"}.__contains__) == "a <lora:ink:0.5>  <hypernet:chalk:1> boat"
