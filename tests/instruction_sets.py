"""Runs the engine's tests as processors with fewer instructions would: ``python -m tests.instruction_sets``.

oneDNN and torch choose their kernels by the processor's instruction sets, and add up differently with each. Environment
variables make both use fewer. Without arguments, all of the engine's tests run with every set that this machine has and
with one, two and four threads; ``--short`` runs the tests of the networks and the denoiser with two sets that most
machines have. Exits with 1 if any run fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parent.parent
ENGINE = ("tests/engine",)
EXACTNESS = tuple(
    f"tests/engine/{name}.py"
    for name in ("batching/test_denoiser", "networks/test_networks", "networks/test_pieces", "networks/test_probes")
)


@dataclass(frozen=True, kw_only=True)
class InstructionSet:
    """A set of instructions, as oneDNN and torch name what they may use at most."""

    flag: str
    """The processor's flag in Linux's ``/proc/cpuinfo`` that says whether it has the set."""

    onednn: str
    """The value of ``ONEDNN_MAX_CPU_ISA``."""

    torch: str
    """The value of ``ATEN_CPU_CAPABILITY``."""


SETS = (
    InstructionSet(flag="sse4_1", onednn="SSE41", torch="default"),
    InstructionSet(flag="avx2", onednn="AVX2", torch="avx2"),
    InstructionSet(flag="avx512bw", onednn="AVX512_CORE", torch="avx512"),
    InstructionSet(flag="avx512_bf16", onednn="AVX512_CORE_BF16", torch="avx512"),
    InstructionSet(flag="amx_bf16", onednn="AVX512_CORE_AMX", torch="avx512"),
)


def sets_here() -> list[InstructionSet]:
    """Those of ``SETS`` that this machine's processor has; none on a system without ``/proc/cpuinfo``."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return [own for own in SETS if own.flag in flags]


def passes(own: InstructionSet, threads: int, tests: Sequence[str], workers: str) -> bool:
    """Whether ``tests`` pass with this set and ``threads`` threads in each of ``workers`` processes."""
    print(f"== {own.onednn} for oneDNN, {own.torch} for torch, {threads} threads", flush=True)
    settings = {
        "ONEDNN_MAX_CPU_ISA": own.onednn,
        "ATEN_CPU_CAPABILITY": own.torch,
        "TEST_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",  # threads that wait for each other by spinning would take the others' processors
    }
    command = [sys.executable, "-m", "pytest", "-n", workers, *tests]
    return subprocess.run(command, cwd=PROJECT, env=os.environ | settings, check=False).returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests as the command line says; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.instruction_sets", description=__doc__)
    parser.add_argument(
        "--short", action="store_true", help="AVX2 and AVX-512 without bfloat16, two threads, few tests"
    )
    parser.add_argument(
        "--sets", nargs="+", default=None, help="oneDNN's names of the sets, instead of all", metavar="SET"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=None, help="numbers of threads", metavar="N")
    parser.add_argument("--workers", default="auto", help="processes that run tests at the same time", metavar="N")
    options = parser.parse_args(arguments)
    names = options.sets or (["AVX2", "AVX512_CORE"] if options.short else [own.onednn for own in SETS])
    unknown = set(names) - {own.onednn for own in SETS}
    if unknown:
        parser.error(f"--sets: {', '.join(sorted(unknown))}: only {', '.join(own.onednn for own in SETS)} are known")
    threads = options.threads or ([2] if options.short else [1, 2, 4])
    here = [own for own in sets_here() if own.onednn in names]
    print(f"this processor has {', '.join(own.onednn for own in here) or 'none'} of {', '.join(names)}", flush=True)
    tests = EXACTNESS if options.short else ENGINE
    failed = [
        f"{own.onednn} with {count} threads"
        for own in here
        for count in threads
        if not passes(own, count, tests, options.workers)
    ]
    if failed:
        print(f"failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
