"""The command ``python -m benchmarks.load``: puts a load on the server over HTTP and reports what came of it.

Calls arrive at random times at a given rate, in every dialect, with various parameters, from many clients, whether or
not the earlier ones are done; some are cancelled, some callers hang up. The report says how long calls took from the
moment they were due, and whether anything that the server accepted was lost or done twice.

Starts a server of its own, which gets the flags after ``--``, or uses a running one (``--url``).
Exit status: 0; 1 if something is wrong; 2 for a mistake of the caller's.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import uvloop

from benchmarks.load.calls import DIALECTS, MOST_PICTURES, Call, Habits, plan_calls, read_mix, read_subjects
from benchmarks.load.own_server import NoServer, OwnServer, own_server
from benchmarks.load.summary import Summary, memory, spread, summarize, text
from benchmarks.load.target import Target, audited, carry_out, empty_calls
from benchmarks.load.visits import Visit
from benchmarks.measuring.workloads import Scale
from engine import BadRequest

_MISTAKE = 2
_SUBJECTS = "text=4,image=2,lora=1,outputs=1"
_MOST_CLIENTS = 200


async def run(options: argparse.Namespace) -> Summary:
    """Carry out the load that the command line asks for. Raises ``NoServer`` and ``httpx.HTTPError``."""
    calls = plan_calls(
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
    async with own_server(flags, checkout=options.checkout, profile=options.profile, folder=options.folder) as server:
        summary = await _measured(_target(options, server.url, server.outputs), calls, server)
    if server.exit_status != 0:
        summary["wrong"].append(f"the server ended with status {server.exit_status}")
    return summary


def _target(options: argparse.Namespace, url: str, outputs: Path | None = None) -> Target:
    return Target(url=url, key=options.key, fetches=options.fetch, patience=options.patience, outputs=outputs)


async def _measured(target: Target, calls: Sequence[Call], server: OwnServer | None) -> Summary:
    finished = list[Visit]()
    disk = None if server is None else await asyncio.to_thread(server.disk)
    watching = None if server is None else asyncio.ensure_future(server.watch(lambda: len(finished)))
    server_before = 0.0 if server is None else server.cpu_seconds()
    begin, own_before = time.monotonic(), time.process_time()
    visits = await carry_out(target, calls, finished)
    seconds, own = time.monotonic() - begin, time.process_time() - own_before
    server_spent = 0.0 if server is None else server.cpu_seconds() - server_before
    rows, wrong = await audited(target, visits)
    summary = summarize(visits, rows, wrong)
    summary |= {"generator_busy": own / seconds, "empty_call": spread(await empty_calls(target))}
    if server is not None and watching is not None:
        watching.cancel()
        summary["cpu_ms_per_call"] = 1000 * server_spent / max(1, len(calls))
        summary["cpu_busy"] = server_spent / seconds
        summary["memory_mib"] = memory(server.samples, len(calls))
        summary["disk_ms"] = disk
        summary["server_log"] = server.trouble()
    return summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    split = words.index("--") if "--" in words else len(words)
    options = _parser().parse_args(words[:split])
    options.server = words[split + 1 :]
    try:
        options.mix, options.subjects = read_mix(options.mix), read_subjects(options.subjects)
        summary = uvloop.run(run(options))  # starts calls within half a millisecond of when they are due
    except (ValueError, BadRequest) as error:
        print(error, file=sys.stderr)
        return _MISTAKE
    except (NoServer, httpx.HTTPError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(summary, indent=2) if options.json else text(summary))
    return 1 if summary["wrong"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load",
        description=__doc__.split("\n\n")[1],
        epilog="Flags after -- are for the server that is started.",
    )
    add = parser.add_argument
    add("--url", help="URL of a running server (default: start one; its own flags come after --)")
    add("--key", help="API key")
    add("--backend", choices=("instant", "engine"), default="instant", help="backend of the server that is started")
    add("--checkout", type=Path, metavar="DIR", help="start the server of this checkout of the project instead")
    add("--rate", type=_positive, default=20.0, help="calls per second (default: 20)")
    add("--seconds", type=_positive, default=20.0, help="how long calls arrive (default: 20)")
    add("--jobs", type=int, help="make this many calls instead")
    add("--clients", type=int, choices=range(1, _MOST_CLIENTS + 1), default=50, metavar="N", help="(default: 50)")
    add("--size", type=int, default=64, help="width and height of the pictures (default: 64)")
    add("--steps", type=int, default=2, help="steps of a picture, on average (default: 2)")
    add("--mix", default=",".join(DIALECTS), help="dialects and how often, such as native=4,comfyui=1 (default: all)")
    add("--subjects", default=_SUBJECTS, help=f"what calls ask for and how often (default: {_SUBJECTS})")
    add("--cancels", type=_share, default=0.05, help="share of calls that are cancelled (default: 0.05)")
    add("--hang-ups", type=_share, default=0.05, help="share of callers who hang up (default: 0.05)")
    add("--linger", type=_positive, default=0.05, help="most seconds before a cancel or a hang-up (default: 0.05)")
    add("--most-pictures", type=int, choices=range(1, MOST_PICTURES + 1), default=MOST_PICTURES, help="in one call")
    add("--patience", type=_positive, default=120.0, help="seconds after which a call is given up (default: 120)")
    add("--fetch", action=argparse.BooleanOptionalAction, default=True, help="download pictures that come as URLs")
    add("--seed", type=int, default=0, help="seed of the arrivals and of what they ask for (default: 0)")
    add("--folder", type=Path, help="where the started server keeps its files (default: the system's temporary folder)")
    add("--profile", type=Path, metavar="FILE", help="profile the started server's event loop, for pstats")
    add("--json", action="store_true", help="print the report as JSON")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not allowed; expected a number above 0")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 0.5:
        raise argparse.ArgumentTypeError(f"{text} is not allowed; expected 0 to 0.5")
    return value


if __name__ == "__main__":
    sys.exit(main())
