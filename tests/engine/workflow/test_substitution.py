"""Workflows with other nodes in the place of some."""

from __future__ import annotations

import pytest

from engine.errors import BadRequest
from engine.workflow.editing import CropPictures, InvertPictures, JoinPictures
from engine.workflow.latents import EmptyLatents
from engine.workflow.pictures import LoadPicture, Pictures
from engine.workflow.substitution import substituted


def deep(picture: Pictures, depth: int) -> Pictures:
    for number in range(depth):
        picture = JoinPictures(first=CropPictures(pictures=picture, x=number), second=picture)
    return picture


def test_what_is_made_from_a_node_is_made_from_the_other_one() -> None:
    one, other = LoadPicture(name="a"), InvertPictures(pictures=LoadPicture(name="b"))
    for depth in (0, 1, 40):
        assert substituted(deep(one, depth), {one: other}) == deep(other, depth)


def test_a_value_may_be_made_from_its_key() -> None:
    one = LoadPicture(name="a")
    other = InvertPictures(pictures=one)
    assert substituted(deep(one, 2), {one: other}) == deep(other, 2)


def test_without_the_node_all_stays_the_same_object() -> None:
    end = deep(LoadPicture(name="a"), 3)
    assert substituted(end, {LoadPicture(name="b"): LoadPicture(name="c")}) is end


def test_a_value_that_makes_something_else_is_refused() -> None:
    one = LoadPicture(name="a")
    with pytest.raises(BadRequest, match="a node that makes Pictures"):
        substituted(deep(one, 1), {one: EmptyLatents()})
