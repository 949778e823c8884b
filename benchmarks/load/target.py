"""Puts calls on a server and finds out what became of them: what callers saw, and what the server has in the end."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.load.audit import Row, audit, audit_files, read_rows, settled
from benchmarks.load.caller import Caller
from benchmarks.load.calls import Call
from benchmarks.load.visits import Clock, Visit, drive, make

_KEEP_ALIVE = 30.0
"""Seconds after which an idle connection is not used again: fewer than the server keeps it."""
_AUDITS, _PAUSE = 9, 0.5
_EMPTY_CALLS, _EMPTY_PAUSE = 20, 0.05


@dataclass(frozen=True, kw_only=True)
class Target:
    """The server that receives the calls."""

    url: str
    key: str | None = None
    """The API key, where the server wants one."""
    fetches: bool = True
    """Whether callers download the pictures whose URLs they receive."""
    patience: float = 120.0
    """Seconds after which a caller gives a call up."""
    outputs: Path | None = None
    """The folder of the server's pictures, if it is on this machine; its files are then checked too."""


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What the callers saw, and what the server had in the end."""

    visits: list[Visit]
    rows: list[Row]
    wrong: list[str]
    """One sentence for each job or file that is not as it should be."""


async def put_load(target: Target, calls: Sequence[Call]) -> LoadResult:
    """Make all ``calls``, wait until the server is idle, and compare what it has with what the callers saw."""
    visits = await carry_out(target, calls, [])
    rows, wrong = await audited(target, visits)
    return LoadResult(visits=visits, rows=rows, wrong=wrong)


async def carry_out(target: Target, calls: Sequence[Call], finished: list[Visit]) -> list[Visit]:
    """Make all ``calls``, each when it is due. Appends each visit to ``finished`` as soon as it has ended."""
    clients = max((call.client for call in calls), default=0) + 1
    async with _callers(target, clients) as callers:

        async def visit(call: Call, now: Clock) -> Visit:
            finished.append(await make(callers[call.client], call, now, target.patience))
            return finished[-1]

        return await drive(calls, visit)


async def audited(target: Target, visits: Sequence[Visit]) -> tuple[list[Row], list[str]]:
    """Read the server's jobs and say what is wrong with them.

    Repeats the check for a few seconds while something is wrong: the server may notice the last hang-up after it has
    given the last answer, and it removes files after their job has ended.
    """
    async with _http(target) as http:
        for attempt in range(_AUDITS):
            wrong = [] if await settled(http, target.patience) else ["some jobs are still queued or running"]
            rows = await read_rows(http)
            wrong += audit(visits, rows) + ([] if target.outputs is None else audit_files(target.outputs, rows))
            if not wrong or attempt == _AUDITS - 1:
                break
            await asyncio.sleep(_PAUSE)
    return rows, wrong


async def empty_calls(target: Target) -> list[float]:
    """Time calls that make the server do nothing, in seconds each: the share of a call that is not the job's."""
    seconds: list[float] = []
    async with _http(target) as http:
        for _ in range(_EMPTY_CALLS + 1):
            await asyncio.sleep(_EMPTY_PAUSE)
            begin = time.perf_counter()
            (await http.get("/healthz")).raise_for_status()
            seconds.append(time.perf_counter() - begin)
    return seconds[1:]  # the first one opens the connection


@contextlib.asynccontextmanager
async def _callers(target: Target, count: int) -> AsyncIterator[list[Caller]]:
    """Open clients with connections of their own, and with their own IP addresses if the server is on this machine."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(_http(target))
        models = (await http.get("/api/v1/models")).raise_for_status().json()["models"]
        default = next(model for model in models if model["default"])
        local = httpx.URL(target.url).host.startswith("127.")
        addresses = [f"127.0.1.{1 + number}" if local and count > 1 else None for number in range(count)]
        clients = [await stack.enter_async_context(_http(target, address)) for address in addresses]
        yield [Caller(each, default["name"], default["file"], target.fetches) for each in clients]


def _http(target: Target, address: str | None = None) -> httpx.AsyncClient:
    """Make a client of the target; ``address`` is the IP address that it connects from."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEP_ALIVE)
    context = ssl.create_default_context() if target.url.startswith("https:") else False
    return httpx.AsyncClient(
        base_url=target.url,
        transport=httpx.AsyncHTTPTransport(verify=context, limits=limits, local_address=address),
        timeout=target.patience,
        headers={"Authorization": f"Bearer {target.key}"} if target.key else {},
        trust_env=False,
    )
