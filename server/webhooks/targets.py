"""Checks where webhooks may go: web addresses outside the operator's own network. Knows no jobs and sends nothing."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import httpx

from server.problems import bad_request

FIELD = "webhook_url"
_LONGEST = 2048
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns all addresses of a host's name and a port, as text. Raises ``OSError``."""


class Refused(Exception):
    """The address is not allowed for webhooks."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A URL, and the one address that was checked and that the connection must go to."""

    url: SplitResult
    address: str
    port: int

    @property
    def host(self) -> str:
        assert self.url.hostname is not None
        return self.url.hostname


def check_url(url: str, *, private: bool, field: str = FIELD) -> None:
    """Check all of the URL in ``field`` that can be checked without looking up the name's addresses.

    Raises ``BadRequest``.
    """
    allowed = "a URL such as https://example.org/path, without a user's name, of at most 2048 characters"
    try:
        parts = _split(url)
        host, _ = parts.hostname, parts.port
        fine = parts.scheme in ("http", "https") and bool(host) and "@" not in parts.netloc
    except ValueError:
        fine, host = False, None
    if not fine or len(url) > _LONGEST or any(sign.isspace() or not sign.isprintable() for sign in url):
        raise bad_request(field, url, allowed)
    assert host is not None
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        inside = host.rstrip(".").lower() == "localhost" or host.rstrip(".").lower().endswith(".localhost")
    else:
        inside = not is_public(address)
    if inside and not private:
        raise bad_request(field, url, "a URL outside of this server's own network (SD_WEBHOOK_PRIVATE_ADDRESSES)")


def _split(url: str) -> SplitResult:
    """Return the parts of ``url``, with an internationalised host name in IDNA form. Raises ``ValueError``."""
    parts = urlsplit(url)
    if parts.netloc.isascii():
        return parts
    try:
        return parts._replace(netloc=httpx.URL(url).netloc.decode("ascii"))
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from None


def is_public(address: Address) -> bool:
    """Whether an address is a public one; if it carries another address inside, that must be public too."""
    if isinstance(address, ipaddress.IPv6Address):
        carried = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            carried.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(inner is not None and not is_public(inner) for inner in carried):
            return False
        if address.ipv4_mapped is not None or address in _NAT64:
            return True
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


async def resolve(host: str, port: int) -> list[str]:
    """Look a name up as the operating system does, on own threads: a silent name server blocks one for a while."""
    lookup = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_threads(), lookup)
    return [str(address[0]) for *_, address in found]


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=8, thread_name_prefix="resolves-webhook-hosts")


async def target_of(url: str, *, private: bool, resolve: Resolve = resolve) -> Target:
    """Return where to connect to for ``url``. All addresses of its name must be allowed, since any may be chosen.

    Raises ``Refused``, and ``OSError`` if the name has no address.
    """
    parts = _split(url)
    assert parts.hostname is not None
    port = parts.port if parts.port is not None else (443 if parts.scheme == "https" else 80)
    addresses = await resolve(parts.hostname, port)
    if not addresses:
        raise OSError(f"{parts.hostname} has no address")
    for text in addresses:
        if not private and not is_public(ipaddress.ip_address(text.partition("%")[0])):
            raise Refused(f"{parts.hostname} leads to {text}, inside this server's own network")
    return Target(url=parts, address=addresses[0], port=port)
