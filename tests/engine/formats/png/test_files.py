"""Pictures' files: whole or not there, never over each other, nothing left behind."""

from __future__ import annotations

import errno
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.errors import BadRequest
from engine.formats.png import (
    writable_folder,
    write_png,
)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_files_are_numbered_after_the_highest(tmp_path: Path) -> None:
    assert write_png(tmp_path, "a", b"1") == tmp_path / "a_00001_.png"
    assert write_png(tmp_path, "a", b"2") == tmp_path / "a_00002_.png"
    assert write_png(tmp_path, "b", b"3") == tmp_path / "b_00001_.png"
    (tmp_path / "a_00007_.png").write_bytes(b"other")
    (tmp_path / "a_x_.png").touch()
    (tmp_path / "a_99_.png.txt").touch()
    (tmp_path / f"a_{'9' * 40}_.png").touch()
    assert write_png(tmp_path, "a", b"4") == tmp_path / "a_00008_.png"
    assert write_png(str(tmp_path), "a", b"5").read_bytes() == b"5"
    assert (tmp_path / "a_00007_.png").read_bytes() == b"other"


def test_a_missing_folder_is_created_and_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    path = write_png(tmp_path / "new" / "deeper", "a", b"data")
    assert path.read_bytes() == b"data"
    assert names(path.parent) == ["a_00001_.png"]
    mask = os.umask(0o022)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize(
    "stem",
    [
        "../up",
        "a/b",
        "a\\b",
        "..",
        ".",
        "",
        " ",
        "\0",
        "a\nb",
        "x" * 1000,
        "日" * 1000,
        "\ud800",
        "CON",
        "*?",
        "a" * 149 + "é",
    ],
)
def test_any_stem_becomes_one_name_in_the_folder(tmp_path: Path, stem: str) -> None:
    folder = tmp_path / "inner"
    paths = {write_png(folder, stem, b"x") for _ in range(2)}
    assert names(folder) == sorted(path.name for path in paths)
    assert len(paths) == 2
    assert all(path.parent == folder and not path.name.startswith(".") for path in paths)
    assert names(tmp_path) == ["inner"]


def write_many(folder: Path, writer: int) -> list[tuple[str, bytes]]:
    contents = [b"%d-%d" % (writer, turn) for turn in range(20)]
    return [(str(write_png(folder, "a", content)), content) for content in contents]


def check_all_there(folder: Path, written: list[list[tuple[str, bytes]]]) -> None:
    everything = dict(pair for pairs in written for pair in pairs)
    assert len(everything) == sum(map(len, written))
    assert names(folder) == sorted(Path(path).name for path in everything)
    assert all(Path(path).read_bytes() == content for path, content in everything.items())
    assert len(everything) == len(set(everything.values()))


def no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "no hard links here")


@pytest.mark.parametrize("links", [True, False])
def test_threads_never_overwrite_each_other(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    start = threading.Barrier(8)

    def work(writer: int) -> list[tuple[str, bytes]]:
        start.wait()
        return write_many(tmp_path, writer)

    with ThreadPoolExecutor(8) as pool:
        check_all_there(tmp_path, list(pool.map(work, range(8))))


def test_processes_never_overwrite_each_other(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        check_all_there(tmp_path, pool.starmap(write_many, [(tmp_path, writer) for writer in range(3)]))


def refused_folder(folder: Path) -> None:
    uses: list[Callable[[], Path]] = [lambda: write_png(folder, "a", b"x"), lambda: writable_folder(folder)]
    for use in uses:
        with pytest.raises(BadRequest) as caught:
            use()
        assert caught.value.field == "out"
        assert caught.value.value == str(folder)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for folder in ("file", "file/inside", "x" * 300, "a\0b", "\ud800"):
        refused_folder(tmp_path / folder)
    assert names(tmp_path) == ["file"]
    refused_folder(Path("/proc/self/none"))


def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write anywhere")
    refused_folder(folder)
    assert names(folder) == []


def test_a_writable_folder_is_created_and_left_empty(tmp_path: Path) -> None:
    assert writable_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert names(tmp_path / "a" / "b") == []


@pytest.mark.parametrize("failing", ["fsync", "scandir", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_no_failure_leaves_a_file_behind(
    tmp_path: Path, failing: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    write_png(tmp_path, "a", b"before")
    with monkeypatch.context() as patch:
        if failing == "fsync":
            patch.setattr(os, "fsync", fail)
        elif failing == "scandir":
            patch.setattr(os, "scandir", fail)
        else:
            patch.setattr(os, "link", no_links)
            patch.setattr(os, "replace", fail)
        with pytest.raises(BadRequest if isinstance(error, OSError) else KeyboardInterrupt):
            write_png(tmp_path, "a", b"data")
    assert names(tmp_path) == ["a_00001_.png"]
    assert (tmp_path / "a_00001_.png").read_bytes() == b"before"
    assert write_png(tmp_path, "a", b"data").name == "a_00002_.png"
