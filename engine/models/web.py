"""One HTTP exchange: a URL → an open response, or why there is none and whether another try is worth it.

Knows redirects, the caller's token and the name that a server gives its file. Knows nothing of files and checkpoints.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote, urlsplit

import httpx

from engine.errors import BadRequest, EngineError

SCHEMES = ("http", "https")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_RETRIED = (408, 425, 429)
_MOST_REDIRECTS = 10
_HEADERS = {
    "User-Agent": "stable-diffusion-engine",
    "Accept-Encoding": "identity",  # sizes and ranges are then those of the file itself
}


class DownloadFailed(EngineError):
    """``url`` did not give its file, for ``reason``. The message leaves out the URL's query, which may be a secret."""

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
    """Return ``url`` as messages and logs may show it: without user, query and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def checked_url(url: str, token: str | None = None) -> str:
    """Return ``url``, percent-encoded where needed.

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


@contextlib.contextmanager
def open_url(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
    timeout: float = 30.0,
    transport: httpx.BaseTransport | None = None,
) -> Iterator[httpx.Response]:
    """Open the response to a GET of ``url``, whose headers have come and whose body is read in the block.

    ``token`` goes along as a bearer token, and after a redirect to the same origin alone. ``timeout``: how many seconds
    of silence count as a broken connection, here and while the body is read. ``transport`` replaces the network.
    Raises ``Cut``, also for what breaks in the block, or ``DownloadFailed`` where another try would give the same.
    """
    authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
    client = httpx.Client(
        headers={**_HEADERS, **(headers or {}), **authorization},
        timeout=timeout,
        follow_redirects=True,
        max_redirects=_MOST_REDIRECTS,
        event_hooks={"request": [_staying_encrypted(url)]},
        verify=ssl.create_default_context(),  # the system's certificates, where httpx would take its own
        transport=transport,
    )
    try:
        with client, client.stream("GET", url) as response:
            if response.is_error:
                raise _refusal(url, response)
            yield response
    except httpx.TooManyRedirects:
        raise DownloadFailed(url, f"it redirects more than {_MOST_REDIRECTS} times") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise DownloadFailed(url, "it is no valid http(s) URL, or redirects to none") from None
    except httpx.TransportError as error:
        certificate = _certificate_error(error)
        if certificate is not None:
            raise DownloadFailed(url, f"its certificate is not trusted ({certificate.verify_message})") from None
        raise Cut(_reason(error)) from None


def name_in_url(url: str) -> str:
    """Return the last part of the URL's path."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def name_in_headers(response: httpx.Response) -> str | None:
    """Return the name in Content-Disposition as the server gave it, which may be anything."""
    message = Message()
    message["Content-Disposition"] = response.headers.get("Content-Disposition", "")
    return message.get_filename()


def length_of(response: httpx.Response) -> int | None:
    """Return the body's length in bytes; None where the server does not say."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def validator_of(response: httpx.Response) -> str | None:
    """Return what identifies this state of the file, byte for byte (RFC 9110, 8.8): a strong ETag, or a date that lies
    at least a minute back. None where the server gave neither."""
    etag, modified = response.headers.get("ETag", ""), response.headers.get("Last-Modified")
    if etag.startswith('"'):
        return str(etag)
    try:
        age = parsedate_to_datetime(response.headers["Date"]) - parsedate_to_datetime(str(modified))
    except (KeyError, TypeError, ValueError):
        return None
    return str(modified) if age.total_seconds() >= 60 else None


def _staying_encrypted(url: str) -> Callable[[httpx.Request], None]:
    """Return a hook for each request on the way from ``url``: once one was https, the rest must be."""
    encrypted = False

    def check(request: httpx.Request) -> None:
        nonlocal encrypted
        if encrypted and request.url.scheme != "https":
            raise DownloadFailed(url, f"it redirects to {shown(str(request.url))}, which is not https")
        encrypted = encrypted or request.url.scheme == "https"

    return check


def _refusal(url: str, response: httpx.Response) -> Exception:
    """Return the exception for an error status."""
    status = f"the server answered {response.status_code} {response.reason_phrase}".strip()
    if response.status_code == 416:
        return RangeRefused(status)
    if response.status_code >= 500 or response.status_code in _RETRIED:
        seconds = response.headers.get("Retry-After", "")
        return Cut(status, float(seconds) if seconds.isascii() and seconds.isdigit() else None)
    if response.status_code in (401, 403):
        status += "; it wants a token (--token-env), or a person who is logged in and downloads it in a browser"
    return DownloadFailed(url, status)


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def _reason(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "nothing came for too long"
    if isinstance(error, httpx.RemoteProtocolError):
        return "the connection ended"
    return " ".join(str(error).split()) or type(error).__name__
