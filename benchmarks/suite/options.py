"""Reads the command line into a plan that fits this machine. Imports torch only after the arguments are parsed."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from benchmarks.measuring.workloads import Scale
from benchmarks.suite.plan import PEERS, SECTIONS, TARGETS, Device, Mode, Plan, Variant, fit
from engine import EngineConfig
from engine.folders import SHIPPED_MODELS

RESULTS = Path(__file__).resolve().parent.parent / "results"
_PATIENCE = 40.0  # seconds per minute of the run, so that one subject does not take the time of the others
_REAL = SHIPPED_MODELS / "AWPainting_v1.3.safetensors"


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m benchmarks``."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the engine beside its peers, and write a table, a JSON and a plot.",
        epilog=f"Sections, in their order: {', '.join(SECTIONS)}. Each gets its share of the time; the report names "
        "what did not fit. Exact beside fast batching on a GPU: --only load variants --minutes 4 --peers stock. This "
        "version beside another: "
        "--earlier DIR --peers --only cold latency load arrivals. Two reports: python -m benchmarks.compare.",
    )
    add = made.add_argument
    add("--only", nargs="+", metavar="SECTION", choices=list(SECTIONS), help="run only these sections")
    add("--minutes", type=float, help="most minutes of the run (default: 15; 2 with --quick)")
    add(
        "--quick", action="store_true", help="make everything tiny, to see that the suite works; the times mean nothing"
    )
    add("--target", choices=TARGETS, help="judge a card's target; exit status 1 if this is that card and it misses")
    add(
        "--out",
        type=Path,
        help=f"the report (default: {RESULTS.name}/TIME-DEVICE.json); the plot goes beside it",
    )
    add("--commit", help="commit to record instead of the checkout's")
    _add_subjects(made.add_argument_group("what is measured"))
    _add_workload(made.add_argument_group("with what work"))
    return made


def _add_subjects(group: argparse._ArgumentGroup) -> None:
    """Add the flags that choose the checkpoint, the engine's settings and the peers."""
    add = group.add_argument
    add("--checkpoint", type=Path, help="a Stable Diffusion 1.x file (default: AWPainting, else synthetic weights)")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add(
        "--dtype",
        nargs="+",
        choices=["float32", "float16", "bfloat16"],
        help="precisions; the first leads",
    )
    add("--engine", nargs="*", metavar="NAME=VALUE", default=[], help="further settings of EngineConfig")
    add(
        "--variants",
        nargs="+",
        metavar="exact:8",
        help="engines for the section variants: exact:N and fast:N (N rows), or settings NAME=VALUE,…",
    )
    add(
        "--peers",
        nargs="*",
        metavar="PEER",
        choices=PEERS,
        default=list(PEERS),
        help=f"peers to measure (default: {' '.join(PEERS)}); without a name: none",
    )
    add(
        "--compiled",
        choices=get_args(Mode),
        default="max-autotune",
        help="how the best-tuned diffusers pipeline is compiled (default: %(default)s, which takes minutes)",
    )
    add("--comfyui", type=Path, metavar="DIR", help="a ComfyUI checkout, whose server is started and measured")
    add("--comfyui-python", metavar="PYTHON", help="the interpreter with ComfyUI's requirements (default: this one)")
    add(
        "--earlier",
        type=Path,
        metavar="DIR",
        help="another checkout of this project, to measure beside this one",
    )


def _add_workload(group: argparse._ArgumentGroup) -> None:
    """Add the flags that say how large pictures are, how many callers there are, and how long to wait."""
    add = group.add_argument
    add("--size", type=int, help="width and height in pixels (default: 512; 256 on a CPU)")
    add("--steps", type=int, help="sampling steps (default: 20; 4 on a CPU)")
    add("--clients", type=int, help="callers in sections with a fixed load (default: 16; 4 on a CPU)")
    add("--levels", type=int, nargs="+", help="numbers of callers for the section concurrency")
    add("--rates", type=float, nargs="+", metavar="N", help="arrivals per second for the section arrivals")
    add(
        "--patience",
        type=float,
        help="most seconds to open one subject, compiling included (default: 600, or 40 for each of --minutes if that "
        "is less)",
    )


def plan_of(options: argparse.Namespace) -> Plan:
    """Make a plan from ``options``. Raises ``ValueError``, ``OSError`` or ``EngineError`` for a bad value."""
    device = _device(options.device)
    settings = dict(map(_setting, options.engine))
    _check(settings)
    checkpoint, synthetic = _checkpoint(options)
    plan = fit(
        Plan(
            device=device,
            dtypes=tuple(options.dtype or (("float32", "bfloat16") if device == "cpu" else ("float16",))),
            checkpoint=checkpoint,
            synthetic=synthetic,
            sections=tuple(options.only or SECTIONS),
            peers=tuple(options.peers),
            compiled=options.compiled,
            comfyui=options.comfyui,
            comfyui_python=options.comfyui_python,
            earlier=_earlier(options.earlier),
            rates=_rates(options.rates or ()),
            settings=settings,
            quick=options.quick,
            target=options.target,
        )
    )
    minutes = options.minutes or plan.minutes
    given: dict[str, Any] = {
        "scale": Scale(size=options.size or plan.scale.size, steps=options.steps or plan.scale.steps),
        "minutes": minutes,
        "clients": options.clients or plan.clients,
        "patience": options.patience or min(plan.patience, _PATIENCE * minutes),
        "levels": tuple(options.levels or plan.levels),
        "variants": tuple(map(_variant, options.variants)) if options.variants else plan.variants,
    }
    return replace(plan, **given)


def _device(wanted: str) -> Device:
    import torch

    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise ValueError("--device cuda: there is no CUDA device; expected auto or cpu")
    return cast(Device, wanted if wanted != "auto" else "cuda" if there else "cpu")


def _earlier(folder: Path | None) -> Path | None:
    if folder is not None and not (folder / "engine" / "__init__.py").is_file():
        raise ValueError(f"--earlier {folder}: expected a checkout of this project, with engine/__init__.py")
    return None if folder is None else folder.resolve()


def _rates(rates: Sequence[float]) -> tuple[float, ...]:
    for rate in rates:
        if not 0 < rate < 1e6:
            raise ValueError(f"--rates {rate:g}: expected a number above 0")
    return tuple(rates)


def _checkpoint(options: argparse.Namespace) -> tuple[Path, bool]:
    """Return the named checkpoint, else AWPainting, else synthetic weights; and whether the weights are synthetic."""
    from benchmarks.subjects.synthetic_checkpoint import CACHE, FULL, NARROW, synthetic_checkpoint
    from engine.checkpoint import inspect_checkpoint

    if options.checkpoint is not None:
        inspect_checkpoint(options.checkpoint)
        return options.checkpoint, False
    if options.quick:
        return synthetic_checkpoint(CACHE / "synthetic-narrow.safetensors", NARROW), True
    if _REAL.exists():
        return _REAL, False
    path = CACHE / "synthetic-sd15.safetensors"
    if not path.exists():
        print(f"writing {path} (2.1 GB), once", file=sys.stderr, flush=True)
    return synthetic_checkpoint(path, FULL), True


def _variant(text: str) -> Variant:
    """Read ``exact:8`` or ``fast:8``, a way of batching with that many rows, or settings as in ``--engine``."""
    match = re.fullmatch(r"(exact|fast):([1-9]\d*)", text)
    if match is None:
        variant = Variant(tuple(map(_setting, text.split(","))))
        _check(dict(variant.settings))
        return variant
    return Variant.of("exact" if match[1] == "exact" else "fast", int(match[2]))


def _check(settings: dict[str, Any]) -> None:
    try:
        EngineConfig(**settings)
    except TypeError as error:  # a name that is not a setting
        raise ValueError(str(error)) from None


def _setting(text: str) -> tuple[str, Any]:
    """Read ``NAME=VALUE``; a value that is a Python literal is read as one."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not a setting; expected NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
