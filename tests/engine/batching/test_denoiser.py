"""The denoiser: branches, shapes of UNet calls, exactness, memory."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine import OutOfMemory
from engine.batching import trials as trials_module
from engine.batching.branches import Part
from engine.batching.denoiser import Denoiser, Evaluation
from engine.batching.rows import Row, inputs_of
from engine.batching.windows import Window
from engine.checkpoint import load_checkpoint
from engine.config import Batching, EngineConfig
from engine.networks.graphs import Launcher
from engine.networks.operations import Operations
from engine.networks.unet import Unet
from engine.sampling.levels import STABLE_DIFFUSION_1
from tests.engine.networks.test_graphs import FakeRecorder

FAST_DIFFERENCE = 5e-6
"""The largest relative difference of one prediction in fast mode from exact mode, in float32.

It was at most 1.5e-6 with AVX2 and 1.2e-6 with AVX-512, on one, two and four threads and for five sets of inputs; the
README states the bound. Latents of 8 × 8 cells would not do: they leave the tiny UNet's lowest level one pixel, so that
each group norm there is over two values. Where these are close, the norm makes a difference of up to 7e-4 of a
rounding, on any processor.
"""


@pytest.fixture(autouse=True)
def _larger_calls_are_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_module, "_WISHES_BEFORE_TRYING", 1)


class LinearUnet(torch.nn.Module):
    """eps = mean of the conditioning · x + the timestep / 1000; remembers the shapes it was called with."""

    channels = 32
    inputs = 4

    def __init__(self, fits: Callable[[int], bool] = lambda rows: True) -> None:
        super().__init__()
        self.dtype = torch.float32
        self.calls: list[tuple[int, int]] = []
        self.latents: list[int] = []
        self.fits = fits

    def pieces(self, rows: int) -> dict[int, int]:
        return {rows: 1}

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        rows = context.shape[0]
        self.calls.append((rows, context.shape[1]))
        self.latents.append(len(x))
        if not self.fits(rows):
            raise torch.OutOfMemoryError("pretended")
        x, time = (each.repeat_interleave(rows // len(each), dim=0) for each in (x, time))
        return x * context.mean(dim=(1, 2))[:, None, None, None] + time[:, None, None, None] / 1000


def denoiser_of(unet: Any, batching: Batching, rows: int, *, gpu: bool = False) -> Denoiser:
    """With the call sizes that an engine with these settings has."""
    sizes = EngineConfig(batching=batching, unet_rows=rows).call_sizes(gpu=gpu)
    return Denoiser(unet, exact=batching == "exact", sizes=sizes, launcher=Launcher(FakeRecorder) if gpu else None)


def tiny_unet(path: Path, dtype: torch.dtype, unit: int | None = None) -> Unet:
    return Unet(load_checkpoint(path, device=torch.device("cpu"), dtype=dtype).unet, Operations(unit=unit))


def evaluation(
    seed: int, *, batch: int = 1, chunks: int = 1, negative_chunks: int = 1, guided: bool = True, side: int = 8
) -> Evaluation:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 4, side, side, generator=generator) * (1 + seed)
    positive = torch.randn(1, 77 * chunks, 64, generator=generator)
    negative = torch.randn(1, 77 * negative_chunks, 64, generator=generator)
    prompts = (positive, negative) if guided else (positive,)
    parts = tuple(Part(conditioning=prompt) for prompt in prompts)
    return Evaluation(x=x, sigma=torch.tensor(0.5 + seed), parts=parts)


def predict(denoiser: Denoiser, evaluations: Sequence[Evaluation]) -> list[Tensor]:
    """What a trajectory is sent for each evaluation, its parts stacked: (parts, B, 4, h, w)."""
    alike = [dataclasses.replace(each, parts=denoiser.with_common_length(each.parts)) for each in evaluations]
    return [torch.stack([eps for (eps,) in parts]) for parts in denoiser.predict(alike)]


def mixed(side: int) -> list[Evaluation]:
    """Evaluations of ``side`` × ``side`` cells that differ in batch, parts and lengths."""
    return [
        evaluation(0, side=side),
        evaluation(1, side=side, guided=False),
        evaluation(2, side=side, batch=3),
        evaluation(3, side=side, chunks=2),
        evaluation(4, side=side, negative_chunks=3),
        evaluation(5, side=side, chunks=5, negative_chunks=4),
    ]


MIXED = mixed(8)


def by_hand(wanted: Evaluation) -> Tensor:
    """What ``LinearUnet`` predicts for each part."""
    x = wanted.x / (1 + wanted.sigma**2) ** 0.5
    shift = STABLE_DIFFUSION_1.timestep(wanted.sigma) / 1000
    return torch.stack([x * part.conditioning.mean() + shift for part in wanted.parts])


@pytest.mark.parametrize("gpu", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("batching", ["exact", "fast"])
@pytest.mark.parametrize("rows", [1, 2, 5, 16])
def test_every_branch_is_predicted(batching: Batching, rows: int, gpu: bool) -> None:
    denoiser = denoiser_of(LinearUnet(), batching, rows, gpu=gpu)
    for _ in range(3):
        for wanted, denoised in zip(MIXED, predict(denoiser, MIXED), strict=True):
            torch.testing.assert_close(denoised, by_hand(wanted), rtol=1e-4, atol=1e-4)


def test_work_counts_each_part_with_its_cells() -> None:
    whole, (positive, negative) = evaluation(0, side=64), evaluation(0, side=64).parts
    area = dataclasses.replace(positive, window=Window(0, 0, 32, 64))
    assert whole.work == 2.0  # the unit is one prediction for 64 × 64 cells
    assert dataclasses.replace(whole, parts=(positive, area, negative)).work == 2.5
    assert evaluation(0, side=128).work == 8.0


def test_one_branch_takes_one_row() -> None:
    unet = LinearUnet()
    predict(denoiser_of(unet, "fast", 16), [evaluation(0, guided=False), evaluation(1)])
    assert unet.calls == [(3, 77)]


def test_without_larger_calls_exact_ones_all_have_one_shape() -> None:
    unet = LinearUnet()
    predict(denoiser_of(unet, "exact", 2), [MIXED[0], MIXED[1], MIXED[2]])
    assert set(unet.calls) == {(2, 77)}


@pytest.mark.parametrize(
    ("batching", "evaluations", "latents"),
    [
        ("exact", [evaluation(0), evaluation(1, batch=2)], [1, 1, 1]),
        ("exact", [evaluation(0, guided=False), evaluation(1)], [2, 1]),  # one is filled up, and not taken for a pair
        ("exact", [evaluation(0, chunks=5, negative_chunks=4)], [2, 2]),  # of two lengths
        ("fast", [evaluation(0), evaluation(1, batch=2)], [3]),
        ("fast", [evaluation(0, guided=False), evaluation(1)], [3]),
        ("fast", [evaluation(seed) for seed in range(9)], [8, 1]),
    ],
)
def test_a_pictures_two_rows_have_one_x(batching: Batching, evaluations: list[Evaluation], latents: list[int]) -> None:
    unet = LinearUnet()
    denoiser = denoiser_of(unet, batching, 2 if batching == "exact" else 16)
    for wanted, denoised in zip(evaluations, predict(denoiser, evaluations), strict=True):
        torch.testing.assert_close(denoised, by_hand(wanted), rtol=1e-4, atol=1e-4)
    assert unet.latents == latents


@pytest.mark.parametrize("batching", ["exact", "fast"])
def test_a_call_of_an_odd_number_of_rows_takes_pairs_apart(batching: Batching) -> None:
    unet = LinearUnet()
    three = [evaluation(seed) for seed in range(3)]
    denoiser = denoiser_of(unet, batching, 1 if batching == "exact" else 3)
    for wanted, denoised in zip(three, predict(denoiser, three), strict=True):
        torch.testing.assert_close(denoised, by_hand(wanted), rtol=1e-4, atol=1e-4)
    assert unet.latents == ([1] * 6 if batching == "exact" else [3, 3])


@pytest.mark.parametrize("batching", ["exact", "fast"])
def test_on_a_gpu_calls_are_the_largest_that_are_filled(batching: Batching) -> None:
    unet = LinearUnet()
    denoiser = denoiser_of(unet, batching, 16, gpu=True)
    seven = [evaluation(seed) for seed in range(7)]
    for _ in range(3):
        predict(denoiser, seven)
    unet.calls.clear()
    predict(denoiser, seven)
    assert [rows for rows, _ in unet.calls] == [8, 4, 2]


def test_larger_exact_calls_are_used_also_where_the_smallest_was_recorded_before() -> None:
    unet = LinearUnet()
    denoiser = denoiser_of(unet, "exact", 8, gpu=True)
    for _ in range(3):
        predict(denoiser, [evaluation(0)])
    four = [evaluation(seed) for seed in range(4)]
    for _ in range(3):
        predict(denoiser, four)
    unet.calls.clear()
    predict(denoiser, four)
    assert [rows for rows, _ in unet.calls] == [8]


@pytest.mark.parametrize("time", [999, 62.5])
def test_times_are_float32_whatever_they_are_given_as(time: float) -> None:
    row = Row(0, torch.zeros(1, 4, 8, 8), time, torch.zeros(1, 77, 64))
    _, times, _ = inputs_of([row], 2)
    assert times.dtype == torch.float32
    assert times.tolist() == [time, time]


def test_fast_calls_are_as_large_as_allowed() -> None:
    unet = LinearUnet()
    predict(denoiser_of(unet, "fast", 16), MIXED[:4])  # 2 + 1 + 6 + 2 rows, the last two of two chunks
    assert unet.calls == [(11, 154)]


def test_a_conditioning_is_repeated_four_times_at_most() -> None:
    unet = LinearUnet()
    predict(denoiser_of(unet, "fast", 16), [evaluation(0), evaluation(1, chunks=5)])
    assert sorted(unet.calls) == [(1, 385), (3, 77)]


@pytest.mark.parametrize("rows", [1, 2, 4, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_exact_rows_do_not_depend_on_their_neighbours(tiny_checkpoint: Path, rows: int, dtype: torch.dtype) -> None:
    unet = tiny_unet(tiny_checkpoint, dtype, unit=min(2, rows))
    denoiser = denoiser_of(unet, "exact", rows)
    alone = [predict(denoiser, [wanted])[0] for wanted in MIXED]
    for turn in range(len(MIXED)):
        turned = MIXED[turn:] + MIXED[:turn]
        together = predict(denoiser, turned)
        for wanted, denoised in zip(alone[turn:] + alone[:turn], together, strict=True):
            assert torch.equal(wanted, denoised)


def test_exact_pairs_are_not_taken_apart_by_their_neighbours() -> None:
    class PairUnet(LinearUnet):
        """Computes pairs otherwise."""

        def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
            return super().forward(x, time, context) + (1e-6 if len(x) < len(context) else 0.0)

    denoiser = denoiser_of(PairUnet(), "exact", 4)
    alone = [predict(denoiser, [wanted])[0] for wanted in MIXED]
    for _ in range(2):
        for wanted, denoised in zip(alone, predict(denoiser, MIXED), strict=True):
            assert torch.equal(wanted, denoised)


@pytest.mark.parametrize("latents", [2, 4])
def test_larger_calls_of_pairs_and_of_others_are_tried_apart(latents: int) -> None:
    class LatentsUnet(LinearUnet):
        """Computes larger calls of that many latents in another way."""

        def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
            wrong = len(context) == 4 and len(x) == latents
            return super().forward(x, time, context) + (1e-6 if wrong else 0.0)

    pairs = [evaluation(0), evaluation(1)]
    others = [evaluation(2, guided=False), evaluation(3, guided=False)]
    for first, second in ((pairs, others), (others, pairs)):
        unet = LatentsUnet()
        denoiser = denoiser_of(unet, "exact", 4)
        for several in (first, second):
            alone = [predict(denoiser, [wanted])[0] for wanted in several]
            predict(denoiser, several)  # tries the larger call out
            unet.calls.clear()
            for wanted, denoised in zip(alone, predict(denoiser, several), strict=True):
                assert torch.equal(wanted, denoised)
            assert {rows for rows, _ in unet.calls} == {2 if (several is pairs) == (latents == 2) else 4}


def test_larger_calls_that_compute_otherwise_are_not_taken() -> None:
    class SizeUnet(LinearUnet):
        def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
            return super().forward(x, time, context) + (1e-6 if len(context) > 4 else 0.0)

    unet = SizeUnet()
    denoiser = denoiser_of(unet, "exact", 8)
    alone = [predict(denoiser, [wanted])[0] for wanted in MIXED]
    predict(denoiser, MIXED)  # tries larger calls out
    unet.calls.clear()
    for wanted, denoised in zip(alone, predict(denoiser, MIXED), strict=True):
        assert torch.equal(wanted, denoised)
    assert max(rows for rows, _ in unet.calls) == 4


def test_larger_calls_are_tried_only_once_they_were_of_use_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_module, "_WISHES_BEFORE_TRYING", 3)
    unet = LinearUnet()
    denoiser = denoiser_of(unet, "exact", 4)
    two = [evaluation(0), evaluation(1)]
    for largest in (2, 2, 4, 4):
        unet.calls.clear()
        predict(denoiser, two)
        assert max(rows for rows, _ in unet.calls) == largest


def test_what_is_exact_does_not_depend_on_the_largest_call(tiny_checkpoint: Path) -> None:
    unet = tiny_unet(tiny_checkpoint, torch.float32, unit=2)
    small, large = denoiser_of(unet, "exact", 2), denoiser_of(unet, "exact", 8)
    for one, other in zip(predict(small, MIXED), predict(large, MIXED), strict=True):
        assert torch.equal(one, other)


def test_fast_equals_exact_up_to_rounding(tiny_checkpoint: Path) -> None:
    unet = tiny_unet(tiny_checkpoint, torch.float32)
    fast, exact = denoiser_of(unet, "fast", 16), denoiser_of(unet, "exact", 2)
    evaluations = mixed(16)
    for one, other in zip(predict(fast, evaluations), predict(exact, evaluations), strict=True):
        assert (one - other).norm() / other.norm() < FAST_DIFFERENCE


def test_a_call_without_memory_is_split_and_later_ones_grow_again() -> None:
    unet = LinearUnet(fits=lambda rows: rows <= 3)
    denoiser = denoiser_of(unet, "fast", 16)
    for wanted, denoised in zip(MIXED[:3], predict(denoiser, MIXED[:3]), strict=True):
        torch.testing.assert_close(denoised, by_hand(wanted), rtol=1e-4, atol=1e-4)
    assert [rows for rows, _ in unet.calls] == [9, 5, 3, 3, 3]
    unet.fits = lambda rows: True
    for _ in range(100):
        predict(denoiser, MIXED[:3])
    assert unet.calls[-1][0] == 9


def test_a_single_row_without_memory_is_an_error() -> None:
    with pytest.raises(OutOfMemory):
        predict(denoiser_of(LinearUnet(fits=lambda rows: False), "fast", 16), MIXED[:1])


def test_an_exact_call_without_memory_is_made_smaller_to_the_same_bits() -> None:
    unet = LinearUnet()
    wanted = predict(denoiser_of(unet, "exact", 2), MIXED)
    scarce = denoiser_of(LinearUnet(fits=lambda rows: rows <= 4), "exact", 8)
    for one, other in zip(predict(scarce, MIXED), wanted, strict=True):
        assert torch.equal(one, other)


def test_the_smallest_exact_call_without_memory_is_an_error() -> None:
    unet = LinearUnet(fits=lambda rows: rows < 2)
    with pytest.raises(OutOfMemory, match="exact batching"):
        predict(denoiser_of(unet, "exact", 4), MIXED[:1])
    assert len(unet.calls) == 2


def test_the_smallest_call_is_made_again_without_any_networks_graphs() -> None:
    launcher = Launcher(FakeRecorder)
    other = launcher.graphs(lambda x: (x + 1,))
    for _ in range(2):
        other(torch.zeros(1))
    unet = LinearUnet(fits=lambda rows: len(other) == 0)
    denoiser = Denoiser(unet, exact=True, sizes=(2,), launcher=launcher)
    torch.testing.assert_close(predict(denoiser, MIXED[:1])[0], by_hand(MIXED[0]), rtol=1e-4, atol=1e-4)
    assert len(unet.calls) == 2


def test_smaller_calls_are_not_tried_before_the_largest_that_is_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_module, "_WISHES_BEFORE_TRYING", 3)
    unet = LinearUnet()
    denoiser = denoiser_of(unet, "exact", 16)
    eight = [evaluation(seed) for seed in range(8)]
    for _ in range(2):
        predict(denoiser, eight)
    assert {rows for rows, _ in unet.calls} == {2}
    for _ in range(6):
        predict(denoiser, eight)
    assert {rows for rows, _ in unet.calls} == {2, 16}


def test_smaller_calls_are_tried_once_the_larger_one_is_refused() -> None:
    class SizeUnet(LinearUnet):
        def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
            return super().forward(x, time, context) + (1e-6 if len(context) == 16 else 0.0)

    unet = SizeUnet()
    denoiser = denoiser_of(unet, "exact", 16)
    for _ in range(3):
        unet.calls.clear()
        predict(denoiser, [evaluation(seed) for seed in range(8)])
    assert [rows for rows, _ in unet.calls] == [8, 8]


def test_a_trial_without_memory_is_made_again_later() -> None:
    unet = LinearUnet(fits=lambda rows: rows <= 2)
    denoiser = denoiser_of(unet, "exact", 4)
    two = [evaluation(0), evaluation(1)]
    predict(denoiser, two)
    unet.fits = lambda rows: True
    for _ in range(60):
        predict(denoiser, two)
    assert unet.calls[-1][0] == 4


def test_trials_are_told(caplog: pytest.LogCaptureFixture) -> None:
    denoiser = denoiser_of(LinearUnet(), "exact", 4)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            predict(denoiser, [evaluation(0), evaluation(1)])
    assert [record.getMessage() for record in caplog.records] == [
        "UNet calls of 4 rows, 8 × 8 cells, 77 tokens: used; operations by rows in a piece: 4: 100%"
    ]


def test_graphs_give_their_memory_back_when_it_runs_out() -> None:
    unet = LinearUnet()
    denoiser = denoiser_of(unet, "fast", 4, gpu=True)
    two = [evaluation(0), evaluation(1)]
    for _ in range(3):
        predict(denoiser, two)
    unet.fits = lambda rows: rows <= 2
    for wanted, denoised in zip(two, predict(denoiser, two), strict=True):
        torch.testing.assert_close(denoised, by_hand(wanted), rtol=1e-4, atol=1e-4)


def regional(seed: int, *parts: tuple[int, Window | None]) -> Evaluation:
    """An evaluation of 8 × 16 cells whose parts have the prompts and windows that are named."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 4, 8, 16, generator=generator)
    prompts = torch.randn(4, 1, 77, 64, generator=generator)
    return Evaluation(
        x=x,
        sigma=torch.tensor(0.5 + seed),
        parts=tuple(Part(conditioning=prompts[number], window=window) for number, window in parts),
    )


LEFT, RIGHT, WHOLE = Window(0, 0, 8, 8), Window(0, 8, 8, 8), None


@pytest.mark.parametrize(
    ("evaluations", "calls"),
    [
        ([regional(0, (0, WHOLE), (1, LEFT), (2, WHOLE), (2, LEFT))], 2),
        ([regional(0, (0, LEFT), (1, RIGHT), (2, LEFT), (2, RIGHT))], 2),
        ([regional(0, (0, WHOLE), (1, LEFT), (2, WHOLE), (2, LEFT)), regional(1, (0, WHOLE), (1, WHOLE))], 3),
    ],
    ids=["one", "two of a size", "beside a picture without areas"],
)
def test_parts_of_the_same_window_are_pairs(evaluations: list[Evaluation], calls: int) -> None:
    unet = LinearUnet()
    for wanted, found in zip(evaluations, denoiser_of(unet, "exact", 2).predict(evaluations), strict=True):
        x = wanted.x / (1 + wanted.sigma**2) ** 0.5
        shift = STABLE_DIFFUSION_1.timestep(wanted.sigma) / 1000
        for part, (eps,) in zip(wanted.parts, found, strict=True):
            own = x if part.window is None else part.window.of(x)
            torch.testing.assert_close(eps, own * part.conditioning.mean() + shift, rtol=1e-4, atol=1e-4)
    assert unet.calls == [(2, 77)] * calls
    assert unet.latents == [1] * calls  # each call's two rows have x in common


@pytest.mark.parametrize("batching", ["exact", "fast"])
def test_windows_share_calls_with_whole_pictures_of_their_size(batching: Batching) -> None:
    region = regional(0, (0, LEFT), (1, LEFT))
    whole, larger = evaluation(1), evaluation(2, side=16)
    unet = LinearUnet()
    denoiser = denoiser_of(unet, batching, 4)
    groups = [denoiser.groups(each) for each in (region, whole, larger)]
    assert not groups[0].isdisjoint(groups[1])
    assert groups[2].isdisjoint(groups[0] | groups[1])
    alone = [predict(denoiser, [each])[0] for each in (region, whole)]
    predict(denoiser, [region, whole])  # what a larger exact call gives is tried out here
    unet.calls.clear()
    together = predict(denoiser, [region, whole])
    assert unet.calls == [(4, 77)]
    assert all(torch.allclose(*pair) for pair in zip(alone, together, strict=True))


def test_of_three_parts_of_a_window_the_last_is_alone() -> None:
    unet = LinearUnet()
    denoiser_of(unet, "exact", 2).predict([regional(0, (0, WHOLE), (1, WHOLE), (2, WHOLE))])
    assert unet.latents == [1, 2]
