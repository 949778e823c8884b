"""Tests where webhooks may go, and where they must not."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest

from server.problems import Problem
from server.webhooks.targets import Refused, check_url, is_public, target_of

pytestmark = pytest.mark.anyio

PRIVATE = [
    "127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1",
    "fd00:ec2::254", "ff02::1", "fec0::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a00:1::",
]  # fmt: skip


PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_inner_addresses_are_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(Problem) as caught:
        check_url(f"http://{host}:8080/x", private=False)
    assert (caught.value.status, caught.value.field) == (400, "webhook_url")
    check_url(f"http://{host}:8080/x", private=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_outer_addresses_are_not(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
    check_url(f"https://{f'[{address}]' if ':' in address else address}/x", private=False)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org", "ftp://example.org", "file:///etc/passwd", "http://", "http:///x", "http://user:pw@example.org",
        "http://example.org:99999", "http://exa mple.org", "http://e.org/\r\nX: y", "https://example.org/" + "x" * 2048,
        "http://☃☃.example/", "http://１２７.0.0.1/", "http://localhost\u3002/", "http://" + "ü" * 70 + ".example/",
        "http://[::1", "javascript:alert(1)", "http://localhost/", "http://LOCALHOST./", "http://a.localhost/",
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Problem) as caught:
        check_url(url, private=False)
    assert caught.value.field == "webhook_url"


def resolver(*answers: list[str]) -> Callable[[str, int], Any]:
    given = iter(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return next(given)

    return resolve


async def test_all_addresses_of_a_name_are_checked() -> None:
    url = "https://example.org/x"
    for bad in (["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["2606:4700::1", "fe80::1%eth0"]):
        with pytest.raises(Refused):
            await target_of(url, private=False, resolve=resolver(bad))
    target = await target_of(url, private=False, resolve=resolver(["8.8.8.8", "1.1.1.1"]))
    assert (target.address, target.port, target.host) == ("8.8.8.8", 443, "example.org")
    with pytest.raises(OSError, match="no address"):
        await target_of(url, private=False, resolve=resolver([]))


async def test_an_internationalised_name_is_asked_for_as_idna_has_it() -> None:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["8.8.8.8"]

    url = "https://Bücher.example:8443/x"
    check_url(url, private=False)
    target = await target_of(url, private=False, resolve=resolve)
    assert (target.host, target.url.netloc) == ("xn--bcher-kva.example", "xn--bcher-kva.example:8443")
    assert asked == ["xn--bcher-kva.example"]


@pytest.mark.parametrize("spelling", ["http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/"])
async def test_odd_spellings_of_loopback_lead_nowhere(spelling: str) -> None:
    """They are names to us, and the addresses that the system makes of them are checked."""

    with pytest.raises((Refused, OSError)):
        await target_of(spelling, private=False)
