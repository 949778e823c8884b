"""A load on the server, over HTTP: ``python -m benchmarks.load``.

Calls arrive at random times at a given rate, in every dialect, with various parameters, from many clients, whatever has
become of the earlier ones; some are cancelled, some callers hang up. Tells how long they took, counted from when they
were due, and whether anything that the server accepted was lost or done twice.

Starts a server of its own, to which the flags after ``--`` are given, or takes one that runs (``--url``).
Exit status: 0; 1 where something is wrong; 2 for a mistake of the caller's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import secrets
import ssl
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvloop

from benchmarks.load_audit import Row, audit, audit_files, read_rows, settled
from benchmarks.load_dialects import Caller
from benchmarks.load_plan import DIALECTS, MOST_PICTURES, Call, Habits, plan, read_mix
from benchmarks.load_report import Report, memory, report, spread, text
from benchmarks.load_server import NoServer, OwnServer, own_server
from benchmarks.load_visits import Clock, Visit, drive, make
from benchmarks.measuring.workloads import Scale
from engine import BadRequest

_MISTAKE = 2
_KEEP_ALIVE = 30.0
"""Seconds after which an idle connection is not used again: fewer than the server keeps it."""
_MOST_CLIENTS = 200
_LOOKS, _PAUSE = 8, 0.5
_EMPTY_CALLS, _EMPTY_PAUSE = 20, 0.05


@dataclass(frozen=True, kw_only=True)
class Target:
    """The server that calls go to."""

    url: str
    key: str | None = None
    fetches: bool = True
    """Whether callers get the pictures whose URLs they are told."""
    patience: float = 120.0
    """Seconds until a call is given up."""
    outputs: Path | None = None
    """The folder of its pictures, where that is at hand: then it is looked through too."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the callers saw, and what the server had in the end."""

    visits: list[Visit]
    rows: list[Row]
    wrong: list[str]


async def put_load(target: Target, calls: Sequence[Call]) -> Outcome:
    """Make all ``calls`` and see what became of them."""
    visits = await carry_out(target, calls, [])
    rows, wrong = await audited(target, visits)
    return Outcome(visits=visits, rows=rows, wrong=wrong)


async def carry_out(target: Target, calls: Sequence[Call], over: list[Visit]) -> list[Visit]:
    """Make all ``calls``. ``over`` grows with those that are over."""
    clients = max((call.client for call in calls), default=0) + 1
    async with _callers(target, clients) as callers:

        async def visit(call: Call, now: Clock) -> Visit:
            over.append(await make(callers[call.client], call, now, target.patience))
            return over[-1]

        return await drive(calls, visit)


async def audited(target: Target, visits: Sequence[Visit]) -> tuple[list[Row], list[str]]:
    """What the server has, and what is wrong with it. Looks again for a while: a caller who hung up last may be
    noticed later than the last answer is given, and files are removed after the job has ended."""
    async with _http(target) as http:
        for last in [False] * _LOOKS + [True]:
            wrong = [] if await settled(http, target.patience) else ["jobs are left that do not end"]
            rows = await read_rows(http)
            wrong += audit(visits, rows) + ([] if target.outputs is None else audit_files(target.outputs, rows))
            if last or not wrong:
                break
            await asyncio.sleep(_PAUSE)
    return rows, wrong


@contextlib.asynccontextmanager
async def _callers(target: Target, count: int) -> AsyncIterator[list[Caller]]:
    """Clients with connections of their own; at a server on this machine each has an address of its own too."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(_http(target))
        models = (await http.get("/api/v1/models")).raise_for_status().json()["models"]
        default = next(model for model in models if model["default"])
        local = httpx.URL(target.url).host.startswith("127.")
        addresses = [f"127.0.1.{1 + number}" if local and count > 1 else None for number in range(count)]
        clients = [await stack.enter_async_context(_http(target, address)) for address in addresses]
        yield [Caller(each, default["name"], default["file"], target.fetches) for each in clients]


def _http(target: Target, address: str | None = None) -> httpx.AsyncClient:
    """``address``: the client's own."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEP_ALIVE)
    context = ssl.create_default_context() if target.url.startswith("https:") else False
    return httpx.AsyncClient(
        base_url=target.url,
        transport=httpx.AsyncHTTPTransport(verify=context, limits=limits, local_address=address),
        timeout=target.patience,
        headers={"Authorization": f"Bearer {target.key}"} if target.key else {},
        trust_env=False,
    )


async def run(options: argparse.Namespace) -> Report:
    """The load that the command line asks for. Raises ``NoServer`` and ``httpx.HTTPError``."""
    calls = plan(
        rate=options.rate,
        seconds=options.seconds,
        jobs=options.jobs,
        clients=options.clients,
        scale=Scale(size=options.size, steps=options.steps),
        habits=Habits(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Habits)}),
        seed=options.seed,
        run=secrets.randbits(31),
    )
    if options.url:
        return await _measured(_target(options, options.url), calls, None)
    flags = ["--backend", options.backend, "--retention-jobs", "none", *options.server]
    async with own_server(flags, profile=options.profile, folder=options.folder) as server:
        told = await _measured(_target(options, server.url, server.outputs), calls, server)
    if server.exit_status != 0:
        told["wrong"].append(f"the server ended with status {server.exit_status}")
    return told


async def _empty(target: Target) -> list[float]:
    """Seconds of calls that ask for nothing, from the same kind of client: what of a call is not the job's."""
    seconds: list[float] = []
    async with _http(target) as http:
        for _ in range(_EMPTY_CALLS + 1):
            await asyncio.sleep(_EMPTY_PAUSE)
            begun = time.perf_counter()
            (await http.get("/healthz")).raise_for_status()
            seconds.append(time.perf_counter() - begun)
    return seconds[1:]  # the first one connects


def _target(options: argparse.Namespace, url: str, outputs: Path | None = None) -> Target:
    return Target(url=url, key=options.key, fetches=options.fetch, patience=options.patience, outputs=outputs)


async def _measured(target: Target, calls: Sequence[Call], server: OwnServer | None) -> Report:
    over = list[Visit]()
    disk = None if server is None else await asyncio.to_thread(server.disk)
    watching = None if server is None else asyncio.ensure_future(server.watch(lambda: len(over)))
    spent = 0.0 if server is None else server.cpu_seconds()
    begun, own = time.monotonic(), time.process_time()
    visits = await carry_out(target, calls, over)
    seconds, own = time.monotonic() - begun, time.process_time() - own
    spent = 0.0 if server is None else server.cpu_seconds() - spent
    rows, wrong = await audited(target, visits)
    told = report(visits, rows, wrong) | {"generator_busy": own / seconds, "empty_call": spread(await _empty(target))}
    if server is not None and watching is not None:
        watching.cancel()
        told["cpu_ms_per_call"] = 1000 * spent / max(1, len(calls))
        told["cpu_busy"] = spent / seconds
        told["memory_mib"] = memory(server.samples, len(calls))
        told["disk_ms"] = disk
        told["server_log"] = server.trouble()
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    split = words.index("--") if "--" in words else len(words)
    options = _parser().parse_args(words[:split])
    options.server = words[split + 1 :]
    try:
        options.mix = read_mix(options.mix)
        told = uvloop.run(run(options))  # calls are begun within half a millisecond of when they are due
    except (ValueError, BadRequest) as error:
        print(error, file=sys.stderr)
        return _MISTAKE
    except (NoServer, httpx.HTTPError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(told, indent=2) if options.json else text(told))
    return 1 if told["wrong"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__.split("\n\n")[1])
    add = parser.add_argument
    add("--url", help="of a server that runs (default: start one; its own flags come after --)")
    add("--key", help="API key")
    add("--backend", choices=("instant", "engine"), default="instant", help="of the server that is started")
    add("--rate", type=_positive, default=20.0, help="calls a second (default: 20)")
    add("--seconds", type=_positive, default=20.0, help="how long calls arrive (default: 20)")
    add("--jobs", type=int, help="so many calls instead")
    add("--clients", type=int, choices=range(1, _MOST_CLIENTS + 1), default=50, metavar="N", help="(default: 50)")
    add("--size", type=int, default=64, help="width and height of the pictures (default: 64)")
    add("--steps", type=int, default=2, help="of a picture, on average (default: 2)")
    add("--mix", default=",".join(DIALECTS), help="dialects and how often, such as native=4,comfyui=1 (default: all)")
    add("--cancels", type=_share, default=0.05, help="share of calls that are cancelled (default: 0.05)")
    add("--hang-ups", type=_share, default=0.05, help="share of callers who hang up (default: 0.05)")
    add("--linger", type=_positive, default=0.05, help="cancels and hang-ups come within so many seconds")
    add("--most-pictures", type=int, choices=range(1, MOST_PICTURES + 1), default=MOST_PICTURES, help="of a call")
    add("--patience", type=_positive, default=120.0, help="seconds until a call is given up (default: 120)")
    add("--fetch", action=argparse.BooleanOptionalAction, default=True, help="get the pictures whose URL is told")
    add("--seed", type=int, default=0, help="of the arrivals and what they ask for (default: 0)")
    add("--folder", type=Path, help="where the started server keeps its files (default: the system's temporary folder)")
    add("--profile", type=Path, metavar="FILE", help="profile the started server's event loop, for pstats")
    add("--json", action="store_true", help="print the report as JSON")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise ValueError
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 0.5:
        raise argparse.ArgumentTypeError(f"{text} is not allowed; expected 0 to 0.5")
    return value


if __name__ == "__main__":
    sys.exit(main())
