"""Times whole UNet calls: of 2 to 32 rows, exact and fast, and with the fastest convolutions that cuDNN finds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch.backends import cudnn

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.timing import Call, by_turns
from engine.networks.unet import Unet

_ROWS = (2, 4, 8, 16, 32)
_UNIT = 2


def run(bench: Bench) -> Any:
    """Return seconds of a call by rows and variant, and which pieces exact calls of more rows fall into."""
    rounds = 2 if bench.simulated else 12
    every = _ROWS[:2] if bench.simulated else _ROWS
    with torch.inference_mode():
        exact = Unet(bench.checkpoint.unet, bench.operations(_UNIT))
        by_rows: dict[str, Any] = {}
        for rows in every:
            call = bench.step(rows, exact)
            call()  # finds the pieces
            seconds, failed = by_turns(
                bench.device,
                {"exact": [call], "fast": [bench.step(rows)]},
                rounds,
            )
            by_rows[str(rows)] = {
                "seconds": seconds,
                "failed": failed,
                "pieces": dict(exact.pieces(rows)),
                "cut": _cut(exact, rows),
            }
            torch.cuda.empty_cache()
        other: dict[str, Any] = {}
        for rows in (2, 16)[: len(every) - 1]:
            call = bench.step(rows)
            variants = {name: [_within(name, call)] for name in _VARIANTS}
            seconds, failed = by_turns(bench.device, variants, rounds)
            other[str(rows)] = {"seconds": seconds, "failed": failed}
            torch.cuda.empty_cache()
    return {"by_rows": by_rows, "variants": other}


def _cut(unet: Unet, rows: int) -> dict[str, int]:
    """The operations that are not computed at once, and how many rows at a time they are given."""
    cut = {case: size for case, size in unet._operations.cases_of(rows).items() if size < rows}
    return {f"{_named(kind)} of {_sizes(given[: len(given) // 2])}": size for (kind, _, given, *_), size in cut.items()}


def _named(kind: Sequence[Any]) -> str:
    """An operation's name, and the sizes of its weight if it has one."""
    return f"{kind[0]} {_sizes(kind[1])}" if isinstance(kind[1], tuple) else str(kind[0])


def _sizes(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


_VARIANTS = ("now", "convolutions searched")


def _within(name: str, call: Call) -> Call:
    def within() -> None:
        with ExitStack() as stack:
            for context in _contexts(name):
                stack.enter_context(context)
            call()

    return within


def _contexts(name: str) -> list[AbstractContextManager[Any]]:
    if name == "convolutions searched" and torch.cuda.is_available():
        return [cudnn.flags(enabled=True, benchmark=True, deterministic=True, allow_tf32=False)]
    return []
