"""A URL → a whole file under its name or none at all, whatever the line and the server do."""

from __future__ import annotations

import dataclasses
import io
import os
import threading
import urllib.request
from functools import partial
from http.client import HTTPMessage
from pathlib import Path
from typing import Any

import pytest

from engine import BadRequest, BrokenCheckpoint, UnknownCheckpoint
from engine.models.download import Patience, Source, copy, download, remote_name
from engine.models.incoming import AlreadyThere, part_of, safe_name
from engine.models.web import DownloadFailed, _Redirects, shown
from tests.web_server import Server, Site, answer, chunked, cut, reset, serve, serving, stall

QUICK = Patience(timeout=0.3, tries=3, pause=0.01, longest_pause=0.05)
HTML = b"<!doctype html><title>Sign in</title>" + b" " * 2000


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "tiny.safetensors"


def source(server: Server, path: str = "/tiny.safetensors", **options: Any) -> Source:
    return Source(**{"url": server.url + path, "patience": QUICK} | options)


def ranges(server: Server) -> list[str | None]:
    return [request.get("range") for request in server.site.requests]


def only_file(target: Path) -> Path:
    (only,) = target.parent.iterdir()
    assert only == target
    return only


def nothing_in(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def test_a_download_is_the_file_and_its_hash(server: Server, target: Path, content: bytes, sha256: str) -> None:
    seen: list[tuple[int, int | None]] = []
    assert download(source(server, progress=lambda *now: seen.append(now)), target) == sha256
    assert only_file(target).read_bytes() == content
    assert seen[-1] == (len(content), len(content))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(server.site.requests) == 1


def test_cut_reset_and_busy_are_tried_again_from_where_it_was(server: Server, target: Path, content: bytes) -> None:
    server.site.script = [cut(5000), reset, answer(503, Retry_After="0"), answer(429), cut(7000)]
    download(source(server, patience=dataclasses.replace(QUICK, tries=4)), target)
    assert only_file(target).read_bytes() == content
    assert ranges(server) == [None, *["bytes=5000-"] * 4, "bytes=12000-"]
    assert server.site.requests[1]["if-range"] == '"one"'


def test_a_stall_is_a_cut(server: Server, target: Path, content: bytes) -> None:
    server.site.script = [stall(5000), stall(0)]
    notes: list[str] = []
    download(source(server, note=notes.append), target)
    assert only_file(target).read_bytes() == content
    assert ranges(server)[1:] == ["bytes=5000-", "bytes=5000-"]
    assert "nothing came for too long" in notes[0]


def test_a_dead_line_is_given_up_and_the_next_call_goes_on(server: Server, target: Path, content: bytes) -> None:
    server.site.script = [cut(5000), *[reset] * 3]
    with pytest.raises(DownloadFailed, match="5,000 bytes came and are kept"):
        download(source(server), target)
    assert len(server.site.requests) == 4
    assert not target.exists()
    download(source(server), target)
    assert only_file(target).read_bytes() == content
    assert ranges(server)[-1] == "bytes=5000-"


def test_nobody_there_is_told(server: Server, target: Path) -> None:
    dead = source(server)
    server.server_close()
    with pytest.raises(DownloadFailed, match="refused"):
        download(dead, target)
    assert nothing_in(target.parent)


def test_a_server_without_ranges_starts_over_and_is_not_asked_for_ever(
    server: Server, target: Path, content: bytes
) -> None:
    server.site.ranges = False
    server.site.script = [cut(9000), cut(3000)]
    download(source(server), target)
    assert only_file(target).read_bytes() == content
    target.unlink()
    server.site.script = [cut(9000) for _ in range(50)]
    with pytest.raises(DownloadFailed, match="gave up after 3"):
        download(source(server), target)


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changed_meanwhile_starts_over(
    server: Server, target: Path, content: bytes, honest: bool, models_folder: Path
) -> None:
    """Also where the server looks at no If-Range and sends the other file's end."""
    other = (models_folder / "other.safetensors").read_bytes()
    assert len(other) == len(content)

    def change(handler: Any) -> None:
        server.site.content, server.site.etag = other, '"two"'
        if not honest:
            handler.headers.replace_header("If-Range", '"two"')
        serve(handler)

    server.site.script = [cut(5_000_000), change]  # beyond the header, which is the same in both
    download(source(server), target)
    assert only_file(target).read_bytes() == other


def test_a_range_beyond_the_end_starts_over(server: Server, target: Path, content: bytes) -> None:
    server.site.script = [cut(5000), answer(416, Content_Range="bytes */10")]
    download(source(server), target)
    assert only_file(target).read_bytes() == content
    assert ranges(server) == [None, "bytes=5000-", None]


@pytest.mark.parametrize("told", ["bytes 4000-4099/{total}", "bytes 5000-9/1", "nonsense", ""])
def test_a_part_that_was_not_asked_for_starts_over(server: Server, target: Path, content: bytes, told: str) -> None:
    server.site.script = [cut(5000), answer(206, b"x" * 100, Content_Range=told.format(total=len(content)))]
    download(source(server), target)
    assert only_file(target).read_bytes() == content


def test_without_a_validator_only_a_known_hash_allows_to_go_on(
    server: Server, target: Path, content: bytes, sha256: str
) -> None:
    for etag in (None, 'W/"weak"'):
        server.site.etag = etag
        for known, second in ((sha256, "bytes=5000-"), (None, None)):
            server.site.requests.clear()
            server.site.script = [cut(5000)]
            download(source(server, sha256=known), target)
            assert target.read_bytes() == content
            assert ranges(server)[1] == second
            target.unlink()


def test_a_date_long_past_is_a_validator(server: Server, target: Path) -> None:
    server.site.etag, server.site.extra = None, {"Last-Modified": "Wed, 01 Jan 2020 00:00:00 GMT"}
    server.site.script = [cut(5000)]
    download(source(server), target)
    assert server.site.requests[1]["if-range"] == "Wed, 01 Jan 2020 00:00:00 GMT"


def test_another_url_does_not_go_on_with_this_ones_part(server: Server, target: Path, content: bytes) -> None:
    server.site.script = [cut(5000), *[reset] * 3]
    with pytest.raises(DownloadFailed):
        download(source(server, "/a.safetensors?token=hidden"), target)
    assert not any(b"hidden" in path.read_bytes() for path in target.parent.iterdir())
    download(source(server, "/b.safetensors"), target)
    assert ranges(server)[-1] is None
    assert only_file(target).read_bytes() == content


def test_a_whole_part_file_needs_no_request(server: Server, target: Path, content: bytes, sha256: str) -> None:
    """As when the machine stopped between the last byte and the rename."""
    server.site.script = [cut(len(content) - 1), *[reset] * 3]
    with pytest.raises(DownloadFailed):
        download(source(server), target)
    with target.with_name(target.name + ".part").open("ab") as file:
        file.write(content[-1:])
    server.site.requests.clear()
    assert download(source(server), target) == sha256
    assert server.site.requests == []


def test_a_wrong_hash_is_refused_and_nothing_is_left(server: Server, target: Path, content: bytes, sha256: str) -> None:
    server.site.content = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(DownloadFailed, match=sha256):
        download(source(server, sha256=sha256), target)
    assert nothing_in(target.parent)
    assert len(server.site.requests) == 1


def test_a_part_that_was_corrupted_is_fetched_anew(server: Server, target: Path, content: bytes, sha256: str) -> None:
    server.site.script = [cut(5000), *[reset] * 3]
    with pytest.raises(DownloadFailed):
        download(source(server), target)
    part = target.with_name(target.name + ".part")
    part.write_bytes(b"x" * 5000)
    download(source(server, sha256=sha256), target)
    assert only_file(target).read_bytes() == content
    assert ranges(server)[-2:] == ["bytes=5000-", None]


def test_a_wrong_file_in_pieces_is_fetched_anew_only_once(server: Server, target: Path) -> None:
    server.site.script = [cut(5000), serve, cut(6000), serve]
    with pytest.raises(DownloadFailed, match="SHA-256"):
        download(source(server, sha256="0" * 64), target)
    assert len(server.site.requests) == 4
    assert nothing_in(target.parent)


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
        (b"\x08\0\0\0\0\0\0\0{}      ", "no Stable Diffusion 1.x"),
        (b"\xff" * 8 + b"{" + b"x" * 999, "no checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_its_content(server: Server, target: Path, body: bytes, what: str) -> None:
    server.site.script = [answer(200, body, Content_Type="application/octet-stream")]
    with pytest.raises(DownloadFailed, match=what):
        download(source(server), target)
    assert nothing_in(target.parent)
    assert len(server.site.requests) == 1


def test_a_page_in_the_rests_stead_does_not_cost_what_came(server: Server, target: Path, content: bytes) -> None:
    server.site.script = [cut(5000), answer(200, HTML)]
    with pytest.raises(DownloadFailed, match="web page"):
        download(source(server), target)
    download(source(server), target)
    assert ranges(server)[-1] == "bytes=5000-"
    assert only_file(target).read_bytes() == content


@pytest.mark.parametrize(("status", "hint"), [(404, "404"), (403, "--token-env"), (401, "--token-env"), (204, "204")])
def test_an_error_that_stays_is_told_at_once(server: Server, target: Path, status: int, hint: str) -> None:
    server.site.script = [answer(status)]
    with pytest.raises(DownloadFailed, match=hint):
        download(source(server, "/x.safetensors?key=hidden"), target)
    assert len(server.site.requests) == 1
    assert nothing_in(target.parent)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_and_keeps_the_token_at_home(
    server: Server, target: Path, content: bytes, status: int
) -> None:
    with serving(Site(content)) as elsewhere:
        home = answer(status, Location="/there.safetensors")
        away = answer(status, Location=elsewhere.url + "/file")
        server.site.script, elsewhere.site.script = [home, away], [cut(5000)]
        server.site.script += [home, away]
        download(source(server, token="secret"), target)
        assert [request.get("authorization") for request in server.site.requests] == ["Bearer secret"] * 4
        assert [request.get("authorization") for request in elsewhere.site.requests] == [None, None]
        assert elsewhere.site.requests[1]["range"] == "bytes=5000-"
    assert only_file(target).read_bytes() == content


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_a_redirect_elsewhere_than_http_is_refused(server: Server, target: Path, location: str) -> None:
    server.site.script = [answer(302, Location=location)]
    with pytest.raises(DownloadFailed):
        download(source(server), target)
    assert nothing_in(target.parent)


def test_a_redirect_from_https_to_http_is_refused() -> None:
    request = urllib.request.Request("https://host/x")
    with pytest.raises(DownloadFailed, match="not https"):
        _Redirects().redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), "http://host/x")


def test_a_redirect_in_a_circle_ends(server: Server, target: Path) -> None:
    server.site.script = [answer(302, Location="/x.safetensors") for _ in range(30)]
    with pytest.raises(DownloadFailed, match="302"):
        download(source(server), target)
    assert len(server.site.requests) < 15


def test_a_token_stays_out_of_sight(server: Server, target: Path) -> None:
    held = source(server, "/x?key=hidden", token="secret")
    assert "secret" not in repr(held)
    server.site.script = [answer(403)]
    with pytest.raises(DownloadFailed) as caught:
        download(held, target)
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert shown("https://user:pass@host/x?y#z") == "https://host/x"
    with pytest.raises(BadRequest, match="https"):
        Source(url="http://example.org/x", token="secret")


@pytest.mark.parametrize("url", ["ftp://host/x", "http://", "http://u:secret@h/x", "http://h:port/x", "http://[x", "x"])
def test_other_urls_are_refused_without_telling_their_secrets(url: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Source(url=url)
    assert caught.value.field == "url"
    assert "secret" not in str(caught.value)


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
    with part_of(target, print) as part:
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
