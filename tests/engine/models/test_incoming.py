"""Files that come to be beside others: never over one, and nothing is left of what failed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engine import BadRequest, BrokenCheckpoint, UnknownCheckpoint
from engine.models.download import copy, download
from engine.models.incoming import AlreadyThere, part_file, safe_name
from tests.engine.models.downloads import HTML, nothing_in, only_file, source
from tests.web_server import Server, cut, serve, stall


def test_no_file_is_written_over(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_text("mine")
    for bring in (lambda: download(source(server), target), lambda: copy(target, target)):
        with pytest.raises((AlreadyThere, BrokenCheckpoint)):
            bring()
        assert only_file(target).read_text() == "mine"
    assert server.site.requests == []


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_written_over(
    server: Server, target: Path, content: bytes, hard_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hard_links:
        monkeypatch.setattr(os, "link", no_hard_links)
    server.site.script = [lambda handler: (target.write_text("mine"), serve(handler))[1]]  # type: ignore[func-returns-value]
    with pytest.raises(AlreadyThere):
        download(source(server), target)
    assert only_file(target).read_text() == "mine"
    target.unlink()
    download(source(server), target)
    assert only_file(target).read_bytes() == content


def no_hard_links(*_: object) -> None:
    raise PermissionError


def test_two_at_once_bring_one_whole_file(server: Server, target: Path, content: bytes) -> None:
    server.site.script = [stall(5000, 0.2), cut(4000)]
    outcomes: list[object] = []

    def bring() -> None:
        try:
            outcomes.append(download(source(server), target))
        except AlreadyThere as error:
            outcomes.append(error)

    threads = [threading.Thread(target=bring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert only_file(target).read_bytes() == content
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 1
    assert len(outcomes) == 4


def test_a_part_that_is_a_second_name_of_a_file_is_not_written_to(server: Server, target: Path) -> None:
    """As after a crash between the file's getting its name and the part's losing it."""
    target.parent.mkdir()
    kept = target.with_name("kept.safetensors")
    kept.write_text("mine")
    os.link(kept, target.with_name(target.name + ".part"))
    download(source(server), target)
    assert kept.read_text() == "mine"


def test_an_empty_part_is_not_left(target: Path) -> None:
    with part_file(target, print) as part:
        assert part.path.exists()
    assert nothing_in(target.parent)


def test_a_folder_that_cannot_be_is_a_bad_request(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest) as caught:
        download(source(server), tmp_path / "file" / "tiny.safetensors")
    assert caught.value.field == "models"


def test_a_copy_is_checked_and_stands_alone(tiny_checkpoint: Path, target: Path, content: bytes, sha256: str) -> None:
    assert copy(tiny_checkpoint, target, sha256=sha256) == sha256
    assert only_file(target).read_bytes() == content
    assert not os.path.samefile(target, tiny_checkpoint)


def test_a_bad_copy_leaves_nothing(tiny_checkpoint: Path, target: Path, tmp_path: Path) -> None:
    (tmp_path / "page.safetensors").write_bytes(HTML)
    with pytest.raises(BadRequest, match="sha256"):
        copy(tiny_checkpoint, target, sha256="0" * 64)
    with pytest.raises(BrokenCheckpoint, match="web page"):
        copy(tmp_path / "page.safetensors", target)
    with pytest.raises(UnknownCheckpoint):
        copy(tmp_path / "none.safetensors", target)
    assert nothing_in(target.parent)


@pytest.mark.parametrize(
    ("foreign", "name"),
    [
        ("../../etc/x.safetensors", "x.safetensors"),
        ("C:\\x\\y.CKPT", "y.ckpt"),
        ("a b%?*.safetensors", "a b___.safetensors"),
        (".hidden.safetensors", "hidden.safetensors"),
        ("x" * 300 + ".safetensors", "x" * 200 + ".safetensors"),
        ("a\0\n.ckpt", "a__.ckpt"),
        (".safetensors", None),
        ("x.safetensors.exe", None),
        ("..", None),
        ("", None),
    ],
)
def test_foreign_names_are_made_safe(foreign: str, name: str | None) -> None:
    assert safe_name(foreign) == name
