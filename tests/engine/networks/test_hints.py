"""Hints: they shorten the search for pieces, change no bit, and a file that is no good does no harm."""

from __future__ import annotations

import gc
import itertools
import json
import logging
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine import Engine, EngineConfig
from engine.batching import trials as trials_module
from engine.folders import cache_folder
from engine.networks import hints as hints_module
from engine.networks import operations as operations_module
from engine.networks.hints import Hints, hints_file
from engine.networks.pieces import Pieces
from engine.running.loading import source_of
from engine.workflow.models import Checkpoint
from tests.requests import same, small

PROJECT = Path(__file__).parent.parent.parent.parent
CASE = (("linear", torch.Size([3, 5]), True), torch.Size([4, 7, 5]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return hints_file(tmp_path / "cache", {"device": "a toaster"})


def written(file: Path) -> Hints:
    """Hints of one operation and one call, on disk."""
    hints = Hints(file)
    hints.note_piece(CASE, 4)
    hints.note_shape((2, 1, 64, 64, 77))
    hints.save()
    return hints


def empty(hints: Hints) -> bool:
    return hints.piece(CASE) is None and hints.shapes == []


def test_what_was_noted_is_there_for_the_next_process(file: Path) -> None:
    written(file)
    hints = Hints(file)
    assert hints.piece(CASE) == 4
    assert hints.piece((CASE[0], torch.Size([8, 7, 5]))) is None
    assert hints.shapes == [(2, 1, 64, 64, 77)]
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    hints = Hints()
    hints.note_piece(CASE, 4)
    hints.save()
    assert hints.piece(CASE) == 4
    assert list(tmp_path.iterdir()) == []


def test_another_network_or_machine_has_another_file(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"device": "a toaster", "weights": {"a": [1, 2]}}
    files = [hints_file(tmp_path, facts), hints_file(tmp_path, facts | {"device": "a kettle"})]
    files += [hints_file(tmp_path, facts | {"weights": {"a": [2, 1]}})]
    assert len(set(files)) == 3
    assert hints_file(tmp_path, dict(facts)) == files[0]


def spoilt(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def spoil(content: bytes) -> bytes:
        hints = json.loads(content)
        change(hints)
        return json.dumps(hints).encode()

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: b"\xff\x00" + content,
        lambda content: b"[" * 100_000,
        lambda content: b"[]",
        lambda content: b"3",
        spoilt(lambda hints: hints.pop("pieces")),
        spoilt(lambda hints: hints.update(key="another")),
        spoilt(lambda hints: hints.update(pieces=[[]])),
        spoilt(lambda hints: hints.update(pieces=[["linear", -2]])),
        spoilt(lambda hints: hints.update(pieces=[["linear", 0]])),
        spoilt(lambda hints: hints.update(pieces=[["linear", True]])),
        spoilt(lambda hints: hints.update(pieces=[["linear", "4"]])),
        spoilt(lambda hints: hints.update(shapes=[[2, 1, 64, 64]])),
        spoilt(lambda hints: hints.update(shapes=[[2, 1, 64, 1e9, 77]])),
        spoilt(lambda hints: hints.update(shapes=[[2, 1, 64, 10**9, 77]])),
        spoilt(lambda hints: hints.update(shapes=None)),
    ],
)
def test_a_file_that_is_no_good_is_ignored_and_replaced(
    file: Path, spoil: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    written(file)
    file.write_bytes(spoil(file.read_bytes()))
    with caplog.at_level(logging.INFO):
        assert empty(Hints(file))
    assert len(caplog.records) == 1
    written(file)
    assert not empty(Hints(file))


def test_a_folder_in_the_files_place_is_ignored(file: Path) -> None:
    file.mkdir(parents=True)
    assert empty(written(file)) is False
    assert empty(Hints(file))


def test_a_folder_that_cannot_be_written_to_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "taken").write_text("a file")
    hints = Hints(tmp_path / "taken" / "x.json")
    caplog.clear()
    for size in (2, 4, 2):
        hints.note_piece(CASE, size)
        hints.save()
    assert len([record for record in caplog.records if "no hints are kept" in record.message]) == 1


def test_a_write_that_fails_leaves_the_file_and_nothing_else(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(file)

    def full(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(hints_module.os, "fsync", full)
    hints = Hints(file)
    hints.note_piece(CASE, 2)
    hints.save()
    assert Hints(file).piece(CASE) == 4
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_one_that_comes_later_keeps_what_others_wrote(file: Path) -> None:
    one, other = Hints(file), Hints(file)
    one.note_piece(["one"], 2)
    one.save()
    other.note_piece(["other"], 4)
    other.save()
    hints = Hints(file)
    assert (hints.piece(["one"]), hints.piece(["other"])) == (2, 4)


_WRITER = """
import sys
from pathlib import Path
from engine.networks.hints import Hints
hints = Hints(Path(sys.argv[1]))
for count in range(100):
    hints.note_piece([sys.argv[2], count], 2)
    hints.save()
"""


def test_processes_that_write_at_once_do_no_harm(file: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(file), name], cwd=PROJECT) for name in "ab"]
    found = []
    while any(writer.poll() is None for writer in writers):
        if file.exists():
            found.append(json.loads(file.read_bytes()))
        time.sleep(0.001)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert found
    hints = Hints(file)
    assert hints.piece(["a", 99]) == 2 or hints.piece(["b", 99]) == 2
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_it_is_saved_once_a_minute_at_most(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[float] = []
    now = 1000.0
    monkeypatch.setattr(hints_module.time, "monotonic", lambda: now)
    hints = Hints(file)
    monkeypatch.setattr(hints, "save_aside", lambda: saved.append(now))
    for now in (1010.0, 1061.0, 1062.0, 1130.0):
        hints.note_piece(["case", now], 2)
        hints.save_when_due()
    assert saved == [1061.0, 1130.0]


def test_only_the_latest_shapes_are_kept() -> None:
    hints = Hints()
    for rows in (*range(1, 30), 20):
        hints.note_shape((rows, 1, 8, 8, 77))
    assert [rows for rows, *_ in hints.shapes] == [20, *range(29, 20, -1), *range(19, 13, -1)]


class Counted:
    """An operation that computes more than ``most`` rows in another way, and counts its calls."""

    def __init__(self, most: int) -> None:
        self.calls = 0
        self.most = most

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + (0 if len(x) <= self.most else len(x))


def sizes_of(operation: Callable[[Tensor], Tensor], x: Tensor, hints: Hints) -> dict[tuple[Any, ...], int]:
    """The sizes of pieces found for one operation; all probes are ``x`` itself."""
    pieces = Pieces(hints)
    result = pieces.compute("test", 2, operation, (x,), lambda: itertools.repeat((operation, (x,))))
    assert torch.equal(result, x)
    return pieces.sizes


@pytest.mark.parametrize(("hint", "found"), [(4, 4), (8, 4), (2, 2), (32, 4), (3, 4)])
def test_a_hint_is_where_the_search_begins_and_no_more(hint: int, found: int) -> None:
    x = torch.zeros(16, 1 << 15)
    case = ("test", 2, (*x.shape, *x.stride()))
    hints = Hints()
    hints.note_piece(case, hint)
    operation, unhinted = Counted(4), Counted(4)
    assert (sizes_of(operation, x, hints), hints.piece(case)) == ({case: found}, found)
    sizes_of(unhinted, x, Hints())
    assert operation.calls < unhinted.calls or hint not in (2, 4, 8)


@pytest.fixture
def kept(models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, int]]:
    """Makes two pictures at once on an engine with a cache folder; what they are, and how much was compared."""
    monkeypatch.setattr(trials_module, "_WISHES_BEFORE_TRYING", 1)
    equal, compared = torch.equal, 0

    def counted(one: Tensor, other: Tensor) -> bool:
        nonlocal compared
        compared += 1
        return equal(one, other)

    linear = operations_module.onednn.linear
    # a device whose matrix products of more than two rows come out otherwise
    monkeypatch.setattr(
        operations_module.onednn, "linear", lambda x, *rest: linear(x, *rest) * (1 if len(x) <= 2 else 1.001)
    )
    plain = torch.nn.functional.linear
    monkeypatch.setattr(
        operations_module.functional, "linear", lambda x, *rest: plain(x, *rest) * (1 if len(x) <= 2 else 1.001)
    )
    monkeypatch.setattr(operations_module.torch, "equal", counted)

    def run(folder: Path | None = tmp_path / "cache") -> tuple[Any, int]:
        nonlocal compared
        compared = 0
        config = EngineConfig(
            checkpoint="tiny", models_folders=(models_folder,), device="cpu", unet_rows=4, cache_folder=folder
        )
        with Engine(config) as engine:
            results = [handle.result(60) for handle in [engine.submit(small(seed=seed)) for seed in (1, 2)]]
        del engine
        for thread in threading.enumerate():
            if thread.name == "hints":
                thread.join()
        return results, compared

    return run


def test_a_second_engine_begins_where_the_first_left_off(kept: Any, tmp_path: Path) -> None:
    first, searched = kept()
    second, verified = kept()
    assert all(same(one, other) for one, other in zip(first, second, strict=True))
    assert verified < searched
    (file,) = (tmp_path / "cache").iterdir()
    stale = json.loads(file.read_bytes())
    stale["pieces"] = [[*case, 4] for *case, _ in stale["pieces"]]
    file.write_text(json.dumps(stale))
    third, _ = kept()
    assert all(same(one, other) for one, other in zip(first, third, strict=True))
    pieces = json.loads(file.read_bytes())["pieces"]
    assert {size for _, unit, *_, size in pieces if unit == 2} == {2, 4}
    assert {size for _, unit, *_, size in pieces if unit == 1} <= {1, 2}  # what a pair of rows has in common
    assert {size for kind, *_, size in pieces if kind[0] == "linear"} <= {1, 2}


def test_an_engine_without_a_writable_folder_works_as_any(kept: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    first, searched = kept(None)
    second, again = kept(tmp_path / "taken" / "cache")
    assert all(same(one, other) for one, other in zip(first, second, strict=True))
    assert again == searched


def test_what_is_unloaded_is_gone_at_once_and_its_hints_are_kept(models_folder: Path, tmp_path: Path) -> None:
    config = EngineConfig(models_folders=(models_folder,), device="cpu", unet_rows=4, cache_folder=tmp_path / "cache")
    with Engine(config) as engine:
        engine.load("tiny")
        lease = engine._pool.acquire(source_of(Checkpoint(name=str(models_folder / "tiny.safetensors"))))
        (model,) = lease.resident.result()
        weights = weakref.ref(model.checkpoint.unet.conv_in)
        model.conditioner.encode("a cat")
        model.denoiser._hints.note_piece(CASE, 2)
        lease.release()
        del model, lease
        gc.disable()
        try:
            assert engine.unload("tiny")
            deadline = time.monotonic() + 10
            while (weights() is not None or not (tmp_path / "cache").exists()) and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            gc.enable()
        assert weights() is None
        assert (tmp_path / "cache").exists()


@pytest.mark.parametrize("named", [True, False])
def test_the_command_line_keeps_them_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere") if named else "")
    assert cache_folder() == tmp_path / ("elsewhere" if named else ".cache") / "stable-diffusion-engine"
