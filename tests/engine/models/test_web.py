"""Errors, redirects, tokens and URLs."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest

from engine import BadRequest
from engine.models.download import Source, download
from engine.models.web import DownloadFailed, open_url, shown
from tests.engine.models.downloads import nothing_in, only_file, source
from tests.web_server import Server, Site, answer, cut, serving


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


@pytest.mark.parametrize("first", ["https://host/x", "http://host/x"])
def test_a_redirect_from_https_to_http_is_refused(first: str) -> None:
    asked: list[str] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        there = "https://host/y" if request.url.path == "/x" else "http://host/z?key=hidden"
        return httpx.Response(302, headers={"Location": there})

    with (
        pytest.raises(DownloadFailed, match="http://host/z, which is not https"),
        open_url(first, transport=httpx.MockTransport(redirect)),
    ):
        pass
    assert asked == [first, "https://host/y"]


def test_a_certificate_that_is_not_trusted_is_reported_at_once() -> None:
    untrusted = ssl.SSLCertVerificationError()
    untrusted.verify_message = "self-signed certificate"

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("failed") from untrusted

    with (
        pytest.raises(DownloadFailed, match="not trusted"),
        open_url("https://host/x", transport=httpx.MockTransport(refuse)),
    ):
        pass


def test_a_redirect_in_a_circle_ends(server: Server, target: Path) -> None:
    server.site.script = [answer(302, Location="/x.safetensors") for _ in range(30)]
    with pytest.raises(DownloadFailed, match="more than 10 times"):
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
