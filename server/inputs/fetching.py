"""Fetches the pictures that callers name by URL, from where webhooks may go too. Knows no store."""

from __future__ import annotations

import asyncio

import httpx

from engine import __version__
from server.problems import Problem, bad_request
from server.webhooks.targets import Refused, Resolve, check_url, resolve, target_of

_TIMEOUT_SECONDS = 20.0
_MOST_REDIRECTS = 3


async def fetched(url: str, field: str, *, most_bytes: int, private: bool, resolve: Resolve = resolve) -> bytes:
    """Return what ``url`` holds, having checked each address on the way as webhooks' are, private ones if allowed.

    Raises ``Problem`` (400) that names ``field``: for an address that is not allowed, an answer other than 200, more
    than ``most_bytes``, or nothing within 20 seconds.
    """
    try:
        return await asyncio.wait_for(_follow(url, field, most_bytes, private, resolve), _TIMEOUT_SECONDS)
    except Refused:
        raise _unreachable(url, field, "it leads into this server's own network") from None
    except asyncio.TimeoutError:
        raise _unreachable(url, field, f"there was no whole answer within {_TIMEOUT_SECONDS:g} s") from None
    except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreachable(url, field, type(error).__name__) from None


async def _follow(url: str, field: str, most_bytes: int, private: bool, resolve: Resolve) -> bytes:
    async with httpx.AsyncClient(
        trust_env=False, timeout=_TIMEOUT_SECONDS
    ) as client:  # a proxy would choose an address
        place = url
        for _ in range(_MOST_REDIRECTS + 1):
            check_url(place, private=private, field=field)
            target = await target_of(place, private=private, resolve=resolve)
            request = client.build_request(
                "GET",
                httpx.URL(place).copy_with(host=target.address, port=target.port),
                headers={"Host": target.url.netloc, "User-Agent": f"stable-diffusion-engine/{__version__}"},
                extensions={"sni_hostname": target.host},
            )
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                if response.has_redirect_location:
                    place = str(httpx.URL(place).join(response.headers["location"]))
                    continue
                if response.status_code != httpx.codes.OK:
                    raise _unreachable(url, field, f"it answers {response.status_code}")
                return await _read(response, url, field, most_bytes)
            finally:
                await response.aclose()
    raise _unreachable(url, field, f"it redirects more than {_MOST_REDIRECTS} times")


async def _read(response: httpx.Response, url: str, field: str, most_bytes: int) -> bytes:
    data = bytearray()
    async for piece in response.aiter_bytes():
        data += piece
        if len(data) > most_bytes:
            raise _unreachable(url, field, f"it has more than {most_bytes} bytes")
    return bytes(data)


def _unreachable(url: str, field: str, reason: str) -> Problem:
    return bad_request(field, url, f"the URL of a picture that can be fetched ({reason})")
