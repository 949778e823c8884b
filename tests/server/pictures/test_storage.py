"""Stored pictures are whole or not there, and no name leads outside the storage."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path

import fsspec
import pytest

from server.pictures.storage import NotRead, NotWritten, PictureFiles
from tests.server.queues import queue

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["folder", "memory"])
def outputs(request: pytest.FixtureRequest, tmp_path: Path) -> PictureFiles:
    if request.param == "folder":
        return PictureFiles(str(tmp_path / "made" / "outputs"))
    fsspec.filesystem("memory").store.clear()
    return PictureFiles("memory://bucket/outputs")


async def test_what_is_written_is_read(outputs: PictureFiles) -> None:
    assert await outputs.find("") == []
    for name in ("a-1-0.png", "a-1-1.png", "b.png"):
        await outputs.write(name, partial(bytes, name.encode() * 1000))
    assert await outputs.read("a-1-0.png") == b"a-1-0.png" * 1000
    await outputs.write("b.png", bytes)
    assert await outputs.read("b.png") == b""
    assert await outputs.find("a-1-") == ["a-1-0.png", "a-1-1.png"]
    await outputs.remove(["a-1-0.png", "never-there.png"])
    await outputs.remove([])
    assert await outputs.find("") == ["a-1-1.png", "b.png"]
    with pytest.raises(KeyError):
        await outputs.read("a-1-0.png")
    with pytest.raises(KeyError):
        await outputs.read("a" * 10_000 + ".png")
    assert await outputs.writable()
    assert await outputs.find("") == ["a-1-1.png", "b.png"]


@pytest.mark.parametrize(
    "name", ["../secret.png", "..", "/etc/passwd", "a/b.png", ".hidden.png", "", "x\0.png", "C:\\x.png", "x.png/"]
)
async def test_no_name_leads_elsewhere(outputs: PictureFiles, tmp_path: Path, name: str) -> None:
    (tmp_path / "made").mkdir(exist_ok=True)
    (tmp_path / "made" / "secret.png").write_bytes(b"secret")

    await outputs.write("x.png", bytes)
    with pytest.raises(KeyError):
        await outputs.read(name)
    assert outputs.path(name) is None
    with pytest.raises(AssertionError):
        await outputs.write(name, bytes)


def test_only_files_have_a_path(tmp_path: Path) -> None:
    assert PictureFiles(str(tmp_path)).path("x.png") == tmp_path / "x.png"
    assert PictureFiles("memory://bucket").path("x.png") is None


async def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = PictureFiles(str(tmp_path))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(NotWritten, match="No space"):
            await outputs.write("x.png", partial(bytes, b"a"))
        assert not await outputs.writable()
    assert list(tmp_path.iterdir()) == []


async def test_callers_that_ask_at_once_whether_pictures_can_be_written_get_one_answer(tmp_path: Path) -> None:
    outputs = PictureFiles(str(tmp_path))
    assert await asyncio.gather(*(outputs.writable() for _ in range(50))) == [True] * 50


async def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert not await PictureFiles(str(tmp_path / "file" / "outputs")).writable()


async def test_jobs_run_on_other_storage(tmp_path: Path) -> None:
    fsspec.filesystem("memory").store.clear()
    async with queue(tmp_path, outputs=PictureFiles("memory://bucket/a")) as own:
        job = await own.finish()
        assert (await own.outputs.read(job.pictures[0].name)).startswith(b"\x89PNG")
        assert await own.jobs.forget([job.id]) == 1
        assert await own.outputs.find("") == []


async def test_errors_name_no_place(tmp_path: Path) -> None:
    outputs = PictureFiles(str(tmp_path / "outputs"))
    (tmp_path / "outputs").symlink_to("outputs")  # which leads to itself
    with pytest.raises(NotWritten, match=r"^[A-Z][a-z ]+$"):
        await outputs.write("x.png", bytes)
    with pytest.raises(NotRead, match=r"^the picture x.png cannot be read \([A-Z][a-z ]+\)$"):
        await outputs.read("x.png")
