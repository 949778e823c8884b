"""A download that is interrupted goes on from where it was, or starts over, and ends as the whole file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from engine.models.download import download
from engine.models.web import DownloadFailed
from tests.engine.models.downloads import HTML, QUICK, nothing_in, only_file, ranges, source
from tests.web_server import Server, answer, cut, reset, serve, stall


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


@pytest.mark.parametrize("content_range", ["bytes 4000-4099/{total}", "bytes 5000-9/1", "nonsense", ""])
def test_a_part_that_was_not_asked_for_starts_over(
    server: Server, target: Path, content: bytes, content_range: str
) -> None:
    server.site.script = [cut(5000), answer(206, b"x" * 100, Content_Range=content_range.format(total=len(content)))]
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


def test_a_page_in_the_rests_stead_does_not_cost_what_came(server: Server, target: Path, content: bytes) -> None:
    server.site.script = [cut(5000), answer(200, HTML)]
    with pytest.raises(DownloadFailed, match="web page"):
        download(source(server), target)
    download(source(server), target)
    assert ranges(server)[-1] == "bytes=5000-"
    assert only_file(target).read_bytes() == content
