"""Sizes that do not fit are refused before a workflow starts."""

from __future__ import annotations

import pytest

from engine import BadRequest, Workflow
from engine.workflow.latents import CompositeLatents, EmptyLatents
from engine.workflow.models import Checkpoint
from engine.workflow.needs import needs_of
from engine.workflow.pictures import Decode, SavePictures


def pasted_at(x: int, y: int) -> Workflow:
    small, large = EmptyLatents(width=64, height=64), EmptyLatents(width=128, height=96)
    pasted = CompositeLatents(below=large, above=small, x=x, y=y)
    return Workflow(outputs={"1": SavePictures(pictures=Decode(latents=pasted, vae=Checkpoint()))})


@pytest.mark.parametrize(("x", "y", "field"), [(128, 0, "x"), (0, 96, "y"), (1024, 1024, "x")])
def test_latents_are_pasted_within_those_below(x: int, y: int, field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        needs_of(pasted_at(x, y))
    assert caught.value.field == field


def test_latents_that_are_pasted_may_reach_beyond_those_below() -> None:
    needs = needs_of(pasted_at(120, 88))
    assert [size.pixels for node, size in needs.sizes.items() if isinstance(node, CompositeLatents)] == [(128, 96)]
