"""A URL → a whole checkpoint under its name or none at all, whatever the server sends."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from engine.models.download import download, remote_name
from engine.models.web import DownloadFailed
from tests.engine.models.downloads import HTML, nothing_in, only_file, source
from tests.web_server import Server, answer, chunked, reset, serve


def test_a_download_is_the_file_and_its_hash(server: Server, target: Path, content: bytes, sha256: str) -> None:
    seen: list[tuple[int, int | None]] = []
    assert download(source(server, progress=lambda *now: seen.append(now)), target) == sha256
    assert only_file(target).read_bytes() == content
    assert seen[-1] == (len(content), len(content))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(server.site.requests) == 1


@pytest.mark.parametrize("length", [100_000, 10_000])
def test_a_length_too_short_is_found_out(server: Server, target: Path, length: int) -> None:
    server.site.script = [lambda handler: serve(handler, length=length)]
    with pytest.raises(DownloadFailed, match="truncated"):
        download(source(server), target)
    assert nothing_in(target.parent)


def test_a_length_too_long_is_no_whole_file(server: Server, target: Path, content: bytes) -> None:
    server.site.script = [lambda handler: serve(handler, length=len(content) + 9) for _ in range(9)]
    server.site.ranges = False
    with pytest.raises(DownloadFailed, match="the connection ended"):
        download(source(server), target)
    assert not target.exists()


def test_a_length_beyond_the_disk_is_refused_at_once(server: Server, target: Path) -> None:
    server.site.script = [lambda handler: serve(handler, length=10**16)]
    with pytest.raises(DownloadFailed, match="less room"):
        download(source(server), target)
    assert len(server.site.requests) == 1
    assert not target.exists()


def test_chunks_without_a_length(server: Server, target: Path, content: bytes) -> None:
    server.site.script = [partial(chunked, whole=False), reset, partial(chunked, whole=True)]
    server.site.ranges = False
    download(source(server), target)
    assert only_file(target).read_bytes() == content


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (HTML, "web page"),
        (b"\n  <html>", "web page"),
        (b'{"error": "no"}', "no checkpoint"),
        (b"", "empty"),
        (b"PK\x03\x04" + b"x" * 999, "pickle"),
        (b"\x08\0\0\0\0\0\0\0{}      ", "none of its 0 tensors is known"),
        (b"\xff" * 8 + b"{" + b"x" * 999, "no checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_its_content(server: Server, target: Path, body: bytes, what: str) -> None:
    server.site.script = [answer(200, body, Content_Type="application/octet-stream")]
    with pytest.raises(DownloadFailed, match=what):
        download(source(server), target)
    assert nothing_in(target.parent)
    assert len(server.site.requests) == 1


def test_a_name_is_the_urls_or_the_servers(server: Server) -> None:
    assert remote_name(source(server, "/a%20b.safetensors?x=1")) == "a b.safetensors"
    assert server.site.requests == []
    server.site.extra = {"Content-Disposition": 'attachment; filename="../evil.safetensors"'}
    server.site.script = [reset]
    assert remote_name(source(server, "/models/1")) == "evil.safetensors"
    server.site.extra = {"Content-Disposition": "attachment; filename*=UTF-8''%C3%A9.ckpt"}
    assert remote_name(source(server, "/models/1")) == "é.ckpt"
    server.site.extra = {}
    assert remote_name(source(server, "/models/1")) is None
    server.site.script = [answer(302, Location="/named.safetensors")]
    assert remote_name(source(server, "/models/1")) == "named.safetensors"
