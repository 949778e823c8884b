"""Times what surrounds the steps: decodes of 1 to 8 pictures, and prompts one after the other and together."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.timing import Call, by_turns


def run(bench: Bench) -> Any:
    """Return seconds of decodes and of the text encoder by rows, and of previews' and noise's smaller kernels."""
    rounds = 2 if bench.simulated else 8
    encoder = bench.checkpoint.text_encoder
    calls: dict[str, Call] = {
        f"decode of {rows}": bench.decode(rows) for rows in ((1, 2) if bench.simulated else (1, 2, 4, 8))
    }

    def encode(rows: int) -> Call:
        tokens = torch.randint(0, 49407, (rows, 77), device=bench.device)
        return lambda: encoder(input_ids=tokens)

    calls |= {f"text encoder of {rows}": encode(rows) for rows in (1, 2, 8)}
    with torch.inference_mode():
        seconds, failed = by_turns(bench.device, {name: [call] for name, call in calls.items()}, rounds)
    return {"seconds": seconds, "failed": failed}
