"""Who may call: the Host header, the Origin of a page, and API keys. Knows no routes beside the probes.

Keys are kept as SHA-256, which suffices for keys with 256 bits of entropy as `python -m server key` makes them.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from server.problems import Problem
from server.settings import Settings

PROBES = frozenset({"/healthz", "/readyz"})
"""Paths that need neither a key nor a known Host: load balancers call them by any address, they reveal nothing and they
change nothing."""

_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def new_key() -> tuple[str, str]:
    """Draw an API key. Returns it and its SHA-256, which is what the settings hold."""
    key = f"sd-{secrets.token_urlsafe(32)}"
    return key, hashlib.sha256(key.encode()).hexdigest()


class Access:
    """Decides whether a connection may go on, and names its client."""

    def __init__(
        self, settings: Settings, public_paths: Collection[str] = (), public_prefixes: Collection[str] = ()
    ) -> None:
        """``public_paths`` and what starts with one of ``public_prefixes`` need no key, beside the probes."""
        self._settings = settings
        self._public_paths = PROBES | frozenset(public_paths)
        self._public_prefixes = tuple(public_prefixes)
        self._public = urlsplit(settings.public_url) if settings.public_url else None
        self._hosts = {host.lower() for host in settings.allowed_hosts}
        if self._public and self._public.hostname:
            self._hosts.add(self._public.hostname)
        if not settings.loopback:
            self._hosts |= {"localhost", socket.gethostname().lower(), socket.getfqdn().lower()}

    @property
    def keys_required(self) -> bool:
        """Whether any path needs a key."""
        return bool(self._settings.api_keys)

    def is_public(self, path: str) -> bool:
        """Say whether ``path`` needs no key."""
        return path in self._public_paths or path.startswith(self._public_prefixes)

    def check(self, connection: HTTPConnection) -> None:
        """Let it pass, or raise a ``Problem``: 400 or 403 for its Host, 403 for its Origin, 401 for its key.

        A connection that passes has the name of its key, or None, as ``state.key_name``.
        """
        path = connection.scope["path"]
        if path in PROBES:
            return
        self._check_host(connection)
        self._check_origin(connection)
        name = self._key_name(connection)
        if self.keys_required and name is None and not self.is_public(path):
            raise _unauthorized()
        connection.state.key_name = name

    def client_of(self, connection: HTTPConnection) -> str:
        """Name the caller: by the name of its key, else by its address."""
        name: str | None = getattr(connection.state, "key_name", None)
        return name or (connection.client.host if connection.client else "unknown")

    def base_url(self, connection: HTTPConnection) -> str:
        """Return the URL at which the caller reaches this server, without a slash at the end."""
        if self._settings.public_url:
            return self._settings.public_url
        scheme = connection.scope.get("scheme", "http")
        scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
        return f"{scheme}://{connection.headers['host']}"  # checked before any route is reached

    def _check_host(self, connection: HTTPConnection) -> None:
        """Refuse unknown names: another site's page can point its own name at this machine (DNS rebinding), but its
        requests then carry that name."""
        header = ", ".join(connection.headers.getlist("host"))  # several are no host name: a proxy may believe another
        match = _HOST.fullmatch(header)
        if match is None:
            raise Problem(status=400, kind="bad_host", title="Bad Host", detail=f"Host: {header!r} is not a host name")
        if self.keys_required and not self._settings.loopback:
            return
        host = match[1].lower().strip("[]")
        if host in self._hosts or header.lower() in self._hosts or self._is_own_address(host):
            return
        raise Problem(
            status=403,
            kind="host_not_allowed",
            title="Host not allowed",
            detail=f"Host: {header!r} is not a name of this server; add it to SD_ALLOWED_HOSTS or set SD_PUBLIC_URL",
        )

    def _is_own_address(self, host: str) -> bool:
        address = _address(host)
        if address is None:
            return host == "localhost"
        return address.is_loopback or not self._settings.loopback

    def _check_origin(self, connection: HTTPConnection) -> None:
        """Refuse calls by other sites' pages that may change something; browsers name the page in Origin."""
        origin = connection.headers.get("origin")
        if origin is None or (connection.scope["type"] == "http" and connection.scope["method"] in _SAFE_METHODS):
            return
        allowed = self._settings.cors_origins
        if "*" in allowed or origin.lower() in allowed or self._is_same(origin, connection.headers["host"]):
            return
        raise Problem(
            status=403,
            kind="origin_not_allowed",
            title="Origin not allowed",
            detail=f"Origin: {origin!r} is another site; add it to SD_CORS_ORIGINS if its pages may call this server",
        )

    def _is_same(self, origin: str, host: str) -> bool:
        try:
            netloc = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        own = {host.lower()} | ({self._public.netloc.lower()} if self._public else set())
        return netloc in own

    def _key_name(self, connection: HTTPConnection) -> str | None:
        """Return the name of the given key, None where it is unknown or absent. Every key is compared, so that the time
        does not tell which one fits."""
        found = None
        for candidate in _candidates(connection):
            digest = hashlib.sha256(candidate.encode("utf-8", "surrogateescape")).hexdigest()
            for name, expected in self._settings.api_keys.items():
                if hmac.compare_digest(digest, expected):
                    found = name
        return found


@functools.lru_cache(maxsize=64)
def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _candidates(connection: HTTPConnection) -> Iterator[str]:
    """Yield what may be a key, from each place where the dialects' clients put theirs."""
    if "x-api-key" in connection.headers:
        yield connection.headers["x-api-key"]
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    value = value.strip()
    if scheme.lower() in ("bearer", "token") and value:
        yield value
    elif scheme.lower() == "basic":
        try:
            pair = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return
        yield pair  # a key may be made of `user:password`
        yield pair.partition(":")[2]
    if connection.scope["type"] == "websocket" and "token" in connection.query_params:
        yield connection.query_params["token"]  # a page cannot set headers on a websocket


def _unauthorized() -> Problem:
    return Problem(
        status=401,
        kind="unauthorized",
        title="Unauthorized",
        detail="an API key is needed: Authorization: Bearer KEY, Basic with the key as password, or X-API-Key: KEY",
        headers={"WWW-Authenticate": 'Bearer realm="stable-diffusion"'},
    )
