"""The command line's wishes → a plan that fits this machine. Imports torch only once they are read."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from benchmarks.measuring.workloads import Scale
from benchmarks.suite.plan import PEERS, SECTIONS, TARGETS, Device, Mode, Plan, Variant, fit
from engine import EngineConfig
from engine.folders import SHIPPED_MODELS

RESULTS = Path(__file__).resolve().parent.parent / "results"
_PATIENCE = 40.0  # seconds a minute of the run, so that one subject does not take the others' time
_REAL = SHIPPED_MODELS / "AWPainting_v1.3.safetensors"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the engine beside its peers: one table, one JSON and one plot.",
        epilog=f"Sections, in their order: {', '.join(SECTIONS)}. Each gets its share of the time; what does not fit "
        "is named in the report. Exact beside fast batching on a GPU: --only load variants --minutes 4 --peers stock.",
    )
    add = made.add_argument
    add("--only", nargs="+", metavar="SECTION", choices=list(SECTIONS), help="run these sections alone")
    add("--minutes", type=float, help="the time that it may take (default: 15; 2 with --quick)")
    add("--quick", action="store_true", help="the smallest form: shows that the suite works; its times say nothing")
    add(
        "--target", choices=TARGETS, help="judge against a card's target; exit status 1 where it is missed on that card"
    )
    add("--checkpoint", type=Path, help="a Stable Diffusion 1.x file (default: AWPainting, else a synthetic one)")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--dtype", nargs="+", choices=["float32", "float16", "bfloat16"], help="precisions; the first leads")
    add("--size", type=int, help="width and height in pixels (default: 512; 256 on a CPU)")
    add("--steps", type=int, help="sampling steps (default: 20; 4 on a CPU)")
    add("--peers", nargs="*", metavar="PEER", choices=PEERS, default=list(PEERS), help=f"of {', '.join(PEERS)}")
    add(
        "--compiled",
        choices=get_args(Mode),
        default="max-autotune",
        help="how the best-tuned diffusers pipeline is compiled (default: %(default)s, which takes minutes)",
    )
    add("--comfyui", type=Path, metavar="DIR", help="a ComfyUI checkout to start and measure")
    add("--comfyui-python", metavar="PYTHON", help="the interpreter with ComfyUI's requirements (default: this one)")
    add("--engine", nargs="*", metavar="NAME=VALUE", default=[], help="further settings of EngineConfig")
    add(
        "--variants",
        nargs="+",
        metavar="exact:8",
        help="engines to try beside each other: exact:N, fast:N, NAME=VALUE,…",
    )
    add(
        "--patience",
        type=float,
        help="seconds that opening one subject may take, compiling it included (default: 600, or 40 a minute of "
        "--minutes if that is less)",
    )
    add("--clients", type=int, help="callers at once where the load is fixed (default: 16; 4 on a CPU)")
    add("--levels", type=int, nargs="+", help="callers at once, one load after the other")
    add("--out", type=Path, help=f"the report (default: {RESULTS.name}/TIME-DEVICE.json); the plot goes beside it")
    add("--commit", help="what to record in place of the git checkout's")
    return made


def plan_of(options: argparse.Namespace) -> Plan:
    """What ``options`` ask for. Raises ``ValueError``, ``OSError`` and ``EngineError`` for what cannot be."""
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
        raise ValueError("--device cuda: there is no CUDA device here")
    return cast(Device, wanted if wanted != "auto" else "cuda" if there else "cpu")


def _checkpoint(options: argparse.Namespace) -> tuple[Path, bool]:
    """The named checkpoint, else the real one if it is there, else made-up weights; and whether they are that."""
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
        print(f"making {path}, 2.1 GB, once", file=sys.stderr, flush=True)
    return synthetic_checkpoint(path, FULL), True


def _variant(text: str) -> Variant:
    """``exact:8`` and ``fast:8`` for that way of batching with so many rows; else settings, as in ``--engine``."""
    match = re.fullmatch(r"(exact|fast):([1-9]\d*)", text)
    if match is None:
        variant = Variant(tuple(map(_setting, text.split(","))))
        _check(dict(variant.settings))
        return variant
    return Variant.of("exact" if match[1] == "exact" else "fast", int(match[2]))


def _check(settings: dict[str, Any]) -> None:
    try:
        EngineConfig(**settings)
    except TypeError as error:  # a name that it does not have
        raise ValueError(str(error)) from None


def _setting(text: str) -> tuple[str, Any]:
    """``NAME=VALUE``; a value that is a Python literal is taken as one."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"a setting is NAME=VALUE, not {text}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
