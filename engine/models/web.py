"""One HTTP exchange: a URL → an open response, or why there is none and whether another try is worth it.

Knows redirects, the caller's token and the name that a server gives its file. Knows nothing of files and checkpoints.
"""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage, HTTPResponse, InvalidURL
from typing import IO, cast
from urllib.parse import quote, unquote, urlsplit

from engine.errors import BadRequest, EngineError

SCHEMES = ("http", "https")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_RETRIED = (408, 425, 429)
_HEADERS = {
    "User-Agent": "stable-diffusion-engine",
    "Accept-Encoding": "identity",  # sizes and ranges are then those of the file itself
}


class DownloadFailed(EngineError):
    """``url`` did not give its file, for ``reason``. What follows "?" in it is not told: it may be a secret."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{shown(url)}: {reason}")
        self.url = shown(url)
        self.reason = reason


class Cut(Exception):
    """The exchange broke; another try may do better, ``after`` seconds from now if the server said so."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class RangeRefused(Cut):
    """The server has no such part of the file."""


def shown(url: str) -> str:
    """``url`` as it may be told to anyone: without user, query and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def checked_url(url: str, token: str | None = None) -> str:
    """``url``, percent-encoded where needed.

    Raises ``BadRequest`` if it is no http(s) URL, names a user, or would carry the token unencrypted.
    """
    allowed = "an http(s) URL without user and password"
    try:
        parts = urlsplit(url)
        hostname, _ = parts.hostname, parts.port
    except ValueError:
        raise BadRequest("url", url.partition("?")[0], allowed) from None
    if parts.scheme not in SCHEMES or not hostname or "@" in parts.netloc:
        raise BadRequest("url", shown(url), allowed)
    if token is not None and parts.scheme != "https" and hostname not in _LOOPBACK:
        raise BadRequest("url", shown(url), "an https URL: a token is not sent over a line without encryption")
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def open_url(
    url: str, *, headers: Mapping[str, str] | None = None, token: str | None = None, timeout: float = 30.0
) -> HTTPResponse:
    """The response to a GET of ``url``, whose headers have come.

    ``token`` goes along as a bearer token, after a redirect only to where it went before. ``timeout``: seconds of
    silence that are borne, here and while the response is read. Raises ``Cut``, or ``DownloadFailed`` where another
    try would give the same.
    """
    request = urllib.request.Request(url, headers={**_HEADERS, **(headers or {})})
    if token is not None:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        return cast(HTTPResponse, _opener().open(request, timeout=timeout))
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error) from None
    except InvalidURL:
        raise DownloadFailed(url, "it is no valid URL, or redirects to none") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadFailed(url, f"its certificate is not trusted ({reason.verify_message})") from None
        raise Cut(_told(reason)) from None


def read_some(response: HTTPResponse, size: int) -> bytes:
    """The next 1 to ``size`` bytes, as they come, or none at the end. Raises ``Cut``."""
    try:
        return response.read1(size)
    except (OSError, HTTPException) as error:
        raise Cut(_told(error)) from None


def name_in_url(url: str) -> str:
    """The last part of the URL's path."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def name_in_headers(response: HTTPResponse) -> str | None:
    """The name in Content-Disposition, as the server gave it: it may hold anything."""
    return response.headers.get_filename()


def validator_of(response: HTTPResponse) -> str | None:
    """What stands for this state of the file, byte for byte (RFC 9110, 8.8): a strong ETag, or a date long past."""
    etag, modified = response.headers.get("ETag", ""), response.headers.get("Last-Modified")
    if etag.startswith('"'):
        return etag
    try:
        age = parsedate_to_datetime(response.headers["Date"]) - parsedate_to_datetime(str(modified))
    except (TypeError, ValueError):
        return None
    return modified if age.total_seconds() >= 60 else None


def _refusal(url: str, error: urllib.error.HTTPError) -> Exception:
    """The exception for a response with an error status, or for redirects without end."""
    status = f"the server answered {error.code} {error.reason}".splitlines()[0]
    if error.code == 416:
        return RangeRefused(status)
    if error.code >= 500 or error.code in _RETRIED:
        seconds = error.headers.get("Retry-After", "")
        return Cut(status, float(seconds) if seconds.isascii() and seconds.isdigit() else None)
    if error.code in (401, 403):
        status += "; it wants a token (--token-env), or a person who is logged in and downloads it in a browser"
    return DownloadFailed(url, status)


def _told(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "nothing came for too long"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


class _Redirects(urllib.request.HTTPRedirectHandler):
    """urllib's own sends every header on to any host, and knows 308 only since Python 3.11."""

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request:
        old, new = _origin(req.full_url), _origin(newurl)
        if new[0] not in SCHEMES or (old[0] == "https" and new[0] != "https"):
            raise DownloadFailed(req.full_url, f"it redirects to {shown(newurl)}, which is not https")
        request = urllib.request.Request(newurl, headers=req.headers)
        secret = req.unredirected_hdrs.get("Authorization")
        if secret is not None and old == new:
            request.add_unredirected_header("Authorization", secret)
        return request


def _opener() -> urllib.request.OpenerDirector:
    """As urllib's own, but for http and https alone: a redirect must not lead to a local file."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener
