"""Graphs: recorded at the second call, replayed from then on, given up where they do not serve."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.networks.graphs import CudaRecorder, Graphs, Launcher, Tally


class FakeRecorder:
    """Repeats a call by calling it again, into the tensors of the first time; ``wrong`` is added to what comes out."""

    def __init__(self, *, fails: Exception | None = None, wrong: float = 0.0) -> None:
        self.fails = fails
        self.wrong = wrong
        self.recorded = self.replayed = self.resets = 0

    def record(self, call: Callable[[], tuple[Tensor, ...]]) -> tuple[Callable[[], object], tuple[Tensor, ...]]:
        if self.fails is not None:
            raise self.fails
        self.recorded += 1
        outputs = tuple(torch.full_like(output, 7.0) for output in call())

        def replay() -> None:
            self.replayed += 1
            for output, fresh in zip(outputs, call(), strict=True):
                output.copy_(fresh + self.wrong)

        return replay, outputs

    def reset(self) -> None:
        self.resets += 1


def double(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    return x * 2, y + x.sum()


def check(graphs: Graphs, rows: int) -> None:
    x, y = torch.randn(rows, 3), torch.randn(rows)
    for found, wanted in zip(graphs(x, y), double(x, y), strict=True):
        assert torch.equal(found, wanted)


def test_the_second_call_of_a_shape_is_recorded_and_later_ones_replay_it() -> None:
    recorder = FakeRecorder()
    graphs = Graphs(double, recorder)
    for rows in (1, 2, 1, 2):
        check(graphs, rows)
    assert (len(graphs), recorder.recorded) == (2, 2)
    replayed = recorder.replayed
    for rows in (1, 2, 2):
        check(graphs, rows)
    assert (recorder.recorded, recorder.replayed) == (2, replayed + 3)
    assert graphs.form == "graph"


def test_a_graph_serves_no_other_dtype() -> None:
    graphs = Graphs(lambda x: (x * 2.0,), FakeRecorder())
    for given in (torch.tensor([3]), torch.tensor([1.5])) * 3:  # 1.5 as a whole number would be 1
        (found,) = graphs(given)
        assert torch.equal(found, given * 2.0)
    assert len(graphs) == 2


def test_without_a_recorder_the_function_is_called() -> None:
    graphs = Graphs(double, None)
    for _ in range(3):
        check(graphs, 2)
    assert (len(graphs), graphs.form) == (0, "eager")


@pytest.mark.parametrize(
    "recorder",
    [
        FakeRecorder(fails=RuntimeError("operation not permitted")),
        FakeRecorder(fails=torch.OutOfMemoryError("pretended")),
        FakeRecorder(wrong=1e-6),
    ],
    ids=["cannot be recorded", "no memory", "other bits"],
)
def test_what_cannot_be_used_is_called_as_it_is(recorder: FakeRecorder) -> None:
    graphs = Graphs(double, recorder)
    for _ in range(4):
        check(graphs, 2)
    assert len(graphs) == 0
    assert recorder.replayed <= 1  # to see what it gives


def test_a_graph_that_fails_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    graphs = Graphs(double, FakeRecorder(fails=RuntimeError("no such thing")))
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            check(graphs, 2)
    assert len(caplog.records) == 1


def test_nan_is_no_difference() -> None:
    graphs = Graphs(lambda x: (x * float("nan"),), FakeRecorder())
    for _ in range(3):
        graphs(torch.ones(2))
    assert len(graphs) == 1


def test_the_least_recently_used_goes() -> None:
    recorder = FakeRecorder()
    graphs = Graphs(double, recorder)
    for rows in range(1, 40):
        for _ in range(2):
            check(graphs, rows)
    kept = len(graphs)
    assert kept < 39
    check(graphs, 39)
    assert recorder.recorded == 39
    for _ in range(8):
        assert recorder.recorded == 39
        check(graphs, 1)
    assert (recorder.recorded, len(graphs)) == (40, kept)


def test_more_shapes_in_turn_than_there_may_be_graphs_are_mostly_replayed() -> None:
    recorder = FakeRecorder()
    graphs = Graphs(double, recorder)
    for _ in range(80):
        for rows in range(1, 28):
            check(graphs, rows)
    assert recorder.recorded < 0.05 * 80 * 27
    assert recorder.replayed > 0.8 * 80 * 27


def test_a_shape_for_which_memory_ran_out_is_recorded_later() -> None:
    recorder = FakeRecorder(fails=torch.OutOfMemoryError("pretended"))
    graphs = Graphs(double, recorder)
    for _ in range(2):
        check(graphs, 2)
    recorder.fails = None
    for _ in range(99):
        check(graphs, 2)
    assert len(graphs) == 0
    for _ in range(2):
        check(graphs, 2)
    assert len(graphs) == 1


@pytest.mark.parametrize(("fails", "wrong"), [(RuntimeError("not permitted"), 0.0), (None, 1e-6)])
def test_a_pool_that_lost_its_only_graph_is_left(fails: Exception | None, wrong: float) -> None:
    recorder = FakeRecorder(fails=fails, wrong=wrong)
    graphs = Graphs(double, recorder)
    for _ in range(2):
        check(graphs, 2)
    assert recorder.resets == 1
    recorder.fails, recorder.wrong = None, 0.0
    for _ in range(2):
        check(graphs, 3)
    recorder.fails, recorder.wrong = fails, wrong
    for _ in range(2):
        check(graphs, 4)
    assert (recorder.resets, len(graphs)) == (1, 1)


@pytest.mark.parametrize("fails", [None, RuntimeError("not permitted")], ids=["graph", "refused"])
def test_what_is_prepared_is_counted_until_nothing_is_left_to_prepare(fails: Exception | None) -> None:
    tally = Tally()
    graphs = Graphs(double, FakeRecorder(fails=fails), tally)
    for rows, count in ((1, 1), (1, 2), (1, 2), (2, 3), (2, 4), (1, 4), (2, 4)):
        check(graphs, rows)
        assert tally.count == count


def test_without_a_recorder_each_shape_counts_once() -> None:
    tally = Tally()
    graphs = Graphs(double, None, tally)
    for rows, count in ((1, 1), (1, 1), (2, 2), (1, 2), (2, 2)):
        check(graphs, rows)
        assert tally.count == count


def test_all_of_a_models_graphs_give_their_memory_back_together() -> None:
    launcher = Launcher(FakeRecorder)
    several = [launcher.graphs(double), launcher.graphs(double)]
    for graphs in several:
        for _ in range(3):
            check(graphs, 2)
    launcher.release()
    assert [len(graphs) for graphs in several] == [0, 0]
    assert launcher.tally.count == 4


def test_memory_given_back_is_taken_again_when_needed() -> None:
    recorder = FakeRecorder()
    graphs = Graphs(double, recorder)
    for _ in range(3):
        check(graphs, 2)
    graphs.clear()
    assert (len(graphs), recorder.resets) == (0, 1)
    check(graphs, 2)
    assert (len(graphs), recorder.recorded) == (1, 2)


@pytest.mark.gpu
def test_on_a_gpu_a_graph_follows_its_inputs() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    graphs = Graphs(double, CudaRecorder())
    with torch.inference_mode():
        for _ in range(4):
            x, y = torch.randn(2, 3, device="cuda"), torch.randn(2, device="cuda")
            for found, wanted in zip(graphs(x, y), double(x, y), strict=True):
                assert torch.equal(found, wanted)
    assert len(graphs) == 1
