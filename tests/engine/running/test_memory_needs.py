"""Requests that do not fit into the free memory are refused by name, with what would fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine import BadRequest
from engine.request import MAX_SIDE
from engine.running.memory_needs import check_room, has_room, largest_side, may_have_room
from engine.workflow.editing import EmptyPictures
from engine.workflow.models import Checkpoint
from engine.workflow.needs import Needs, needs_of
from engine.workflow.pictures import Decode, SavePictures
from engine.workflow.upscaling import Upscale, UpscalerFile
from engine.workflow.workflow import Workflow
from tests.requests import small

CPU = torch.device("cpu")


def model(bytes_per_pixel: int) -> Any:
    """One each of whose networks takes so much."""
    network = SimpleNamespace(peak_bytes=lambda w, h: w * h * bytes_per_pixel, release=lambda: None)
    return SimpleNamespace(decoder=network, own_decoder=network, denoiser=network, encoder=network)


def models(bytes_per_pixel: int) -> Any:
    """The resident things of a workflow that names no checkpoint."""
    return {Checkpoint(): model(bytes_per_pixel)}


def needs(**parameters: int) -> Needs:
    return needs_of(small(**parameters).workflow())


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes that are free, in a list of one."""
    given = [2**30]
    monkeypatch.setattr("engine.running.memory_needs.free_bytes", lambda device: given[0])
    return given


@pytest.mark.parametrize("bytes_free", [2**24, 10**9, 3 * 2**30])
@pytest.mark.parametrize("bytes_per_pixel", [1000, 2560])
def test_the_largest_side_fits_and_a_larger_one_does_not(
    free: list[int], bytes_free: int, bytes_per_pixel: int
) -> None:
    free[0] = bytes_free
    side = largest_side(model(bytes_per_pixel), CPU)
    assert side % 8 == 0
    assert has_room(models(bytes_per_pixel), needs(width=side, height=side), CPU)
    assert not has_room(models(bytes_per_pixel), needs(width=side + 8, height=side + 8), CPU)
    with pytest.raises(BadRequest, match="width"):
        check_room(models(bytes_per_pixel), needs(width=side + 16, height=side + 16), CPU)


def test_no_size_is_told_that_no_request_may_have(free: list[int]) -> None:
    free[0] = 2**60
    assert largest_side(model(1000), CPU) == MAX_SIDE


def test_too_large_a_batch_is_refused_with_what_fits(free: list[int]) -> None:
    free[0] = 64 * 64 * (1000 + 10 * 15)
    check_room(models(1000), needs(batch_size=10), CPU)
    with pytest.raises(BadRequest, match=r"batch_size.*at most 10 pictures"):
        check_room(models(1000), needs(batch_size=11), CPU)


def test_there_is_nothing_to_wait_for_where_all_memory_would_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.running.memory_needs.total_bytes", lambda device: 64 * 64 * (1000 + 10 * 15))
    assert may_have_room(models(1000), needs(batch_size=10), CPU)
    assert not may_have_room(models(1000), needs(batch_size=11), CPU)


def test_the_vae_works_in_tiles_where_only_they_fit(free: list[int]) -> None:
    roomy = SimpleNamespace(peak_bytes=lambda w, h: 0, release=lambda: None)
    resident: Any = {Checkpoint(): SimpleNamespace(**{**vars(model(1000)), "denoiser": roomy})}
    workflow = small(width=2048, height=2048).workflow()
    free[0] = 2048 * 2048 * 1100
    assert check_room(resident, needs_of(workflow), CPU) == set()
    free[0] = 2048 * 2048 * 500
    (tiled,) = check_room(resident, needs_of(workflow), CPU)
    assert isinstance(tiled, Decode)
    free[0] = 2**24
    with pytest.raises(BadRequest, match="width"):
        check_room(resident, needs_of(workflow), CPU)


def test_an_upscaler_works_in_smaller_tiles_where_only_they_fit(free: list[int]) -> None:
    file = UpscalerFile(name="a")
    upscale = Upscale(pictures=EmptyPictures(width=256, height=256), upscaler=file)
    needed = needs_of(Workflow(outputs={"9": SavePictures(pictures=upscale)}))
    resident: Any = {file: SimpleNamespace(peak_bytes=lambda w, h: w * h * 10_000)}
    free[0] = 256 * 256 * 20_000
    assert check_room(resident, needed, CPU) == set()
    free[0] = 256 * 256 * 5_000
    assert check_room(resident, needed, CPU) == {upscale}
