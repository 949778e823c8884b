"""The command ``python -m benchmarks.gpu``: all that only a GPU can show, in at most 11 minutes.

Each part is written to the report when it ends. A run that is given the report of an earlier one does the parts that
are missing there. Without a GPU it runs in a simulated form. Exit status: 0; 1 if a part failed; 2 for a mistake.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_ROOM = Path(__file__).resolve().parent.parent
_LEAST = 15.0
"""Seconds that a part needs at least."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    from benchmarks.gpu.advice import advice

    bench = _bench(options)
    parts = _parts()
    for name in options.parts or parts:
        if name in bench.found["parts"] and name not in (options.parts or ()):
            continue
        bench.found["not_run"].pop(name, None)
        if bench.left < _LEAST:
            bench.found["not_run"][name] = "no time was left"
            continue
        begin = time.monotonic()
        try:
            bench.keep(name, parts[name](bench))
        except Exception as error:
            traceback.print_exc()
            bench.found["not_run"][name] = f"{type(error).__name__}: {error}"
        print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    bench.write()
    text = advice(bench.found)
    bench.path.with_suffix(".txt").write_text(text, encoding="utf-8")
    print(text)
    failed = [part for part in ("tests", "suite") if bench.found["parts"].get(part, {}).get("status", 0) != 0]
    return 1 if failed or bench.found["not_run"] else 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    add = made.add_argument
    add(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"do these again (default: those that the report lacks): {', '.join(_NAMES)}",
    )
    add("--out", type=Path, default=_ROOM / "results" / "gpu.json", help="the report; a text goes beside it")
    add("--minutes", type=float, default=11.0, help="most minutes of the run (default: %(default)s)")
    add("--checkpoint", type=Path, help="a Stable Diffusion 1.x file (default: full-size random weights)")
    add("--commit", help="commit to record instead of the checkout's")
    return made


_NAMES = ("profile", "picture", "steps", "attention", "convolutions", "products", "stages", "tests", "suite")


def _parts() -> Mapping[str, Callable[[Any], Any]]:
    from benchmarks.gpu.parts import operations, profile, programs, stages, steps

    runs = (
        profile.run,
        profile.picture,
        steps.run,
        operations.attention,
        operations.convolutions,
        operations.products,
        stages.run,
        programs.tests,
        programs.suite,
    )
    return dict(zip(_NAMES, runs, strict=True))


def _bench(options: argparse.Namespace) -> Any:
    import json

    import torch

    from benchmarks.gpu.bench import Bench
    from benchmarks.measuring.machine import describe
    from benchmarks.subjects.synthetic_checkpoint import CACHE, FULL, NARROW, synthetic_checkpoint
    from engine.device.devices import settle

    begin = time.monotonic()
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", 0) if gpu else torch.device("cpu")
    settle(device)
    name, widths = ("synthetic-sd15", FULL) if gpu else ("synthetic-narrow", NARROW)
    bench = Bench(
        path=options.out,
        checkpoint_path=options.checkpoint or synthetic_checkpoint(CACHE / f"{name}.safetensors", widths),
        device=device,
        dtype=torch.float16 if gpu else torch.float32,
        simulated=not gpu,
        ends=begin + 60 * options.minutes,
    )
    bench.found = (
        json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {"parts": {}, "not_run": {}}
    )
    ceilings = bench.ceilings
    bench.found["machine"] = describe(device, options.commit) | {
        "matmul": ceilings.matmul,
        "bandwidth": ceilings.bandwidth,
    }
    bench.found["simulated"] = bench.simulated
    return bench


if __name__ == "__main__":
    sys.exit(main())
