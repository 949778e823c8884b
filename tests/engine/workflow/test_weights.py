"""Weights as values: what nodes stand for, and what has to be resident."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from engine.errors import BadRequest, UnknownCheckpoint
from engine.parameters import FileName, Number, parameter
from engine.tensors.kinds import FileKind
from engine.workflow.merging import MergedModels
from engine.workflow.models import Checkpoint, Clip, LastLayer, Model
from engine.workflow.needs import needs_of
from engine.workflow.node import Node, in_order, link
from engine.workflow.weights import DEEPEST, LARGEST, Weights, located, paths_of, used_weights, weights_of
from tests.requests import small


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Changed(Weights, Model):
    """A model with other weights."""

    model: Model = link(Model)
    name: str = parameter("change", FileName(folder="loras", optional=False), "a file")
    strength: float = parameter(1.0, Number(-1, 1), "how much")

    def without_effect(self) -> Node | None:
        return self.model if self.strength == 0 else None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Patched(Model):
    """A model whose weights are used in another way."""

    model: Model = link(Model)


BASE = Checkpoint(name="base")


def stands_for(node: Node) -> Weights:
    return weights_of(in_order(node))[node]


def test_what_only_changes_how_weights_are_used_stands_for_the_same() -> None:
    assert stands_for(Patched(model=BASE)) == BASE
    assert stands_for(LastLayer(clip=BASE, layer=-2)) == BASE
    assert stands_for(Changed(model=Patched(model=BASE))) == Changed(model=BASE)
    assert stands_for(Patched(model=Changed(model=Patched(model=BASE)))) == Changed(model=BASE)


def test_what_changes_nothing_is_left_out() -> None:
    nothing = Changed(model=BASE, strength=0.0)
    assert stands_for(nothing) == BASE
    assert stands_for(Changed(model=nothing)) == Changed(model=BASE)


def test_what_only_other_weights_are_made_from_need_not_be_resident() -> None:
    first = Changed(model=BASE, name="a")
    second = Changed(model=first, name="b")
    nodes = in_order(Patched(model=second))
    assert used_weights(nodes, weights_of(nodes)) == (second,)


def test_a_request_needs_its_checkpoint_once() -> None:
    needs = needs_of(small(model="base", clip_skip=2).workflow())
    assert needs.used == (BASE,)
    assert set(needs.weights.values()) == {BASE}
    assert any(isinstance(node, Clip) and node != BASE for node in needs.weights)


def test_names_become_paths_of_their_kind() -> None:
    node = located(Changed(model=BASE), lambda name, kind: f"/{kind}/{name}")
    assert node == Changed(model=Checkpoint(name="/checkpoints/base"), name="/loras/change")
    assert paths_of(node) == ("/loras/change", "/checkpoints/base")


def test_an_unknown_name_is_the_nodes_whose_it_is() -> None:
    def find(name: str | None, kind: FileKind) -> str:
        raise UnknownCheckpoint("model", name, "another name")

    with pytest.raises(UnknownCheckpoint) as caught:
        located(Changed(model=BASE), find)
    assert (caught.value.field, caught.value.node) == ("name", BASE)


def test_stacks_have_an_end() -> None:
    node: Model = BASE
    for _ in range(DEEPEST - 1):
        node = Changed(model=node)
    assert stands_for(node) == node
    with pytest.raises(BadRequest, match=str(DEEPEST)) as caught:
        stands_for(Changed(model=node))
    assert caught.value.field == "model"


def test_weights_that_are_computed_again_and_again_have_an_end() -> None:
    node: Model = BASE
    for _ in range(8):
        node = MergedModels(first=node, second=node)
    assert len(in_order(node)) == 9
    assert located(stands_for(node), lambda name, kind: f"/{name}") is not None
    with pytest.raises(BadRequest, match=f"{LARGEST} in all") as caught:
        stands_for(MergedModels(first=node, second=node))
    assert caught.value.field == "first"
