"""Stands in for ``python`` in a README's shell blocks: runs a command small, or checks the flags of one that runs long.

Pictures are made small, of a tiny checkpoint, on the CPU. A server is not started: its settings are read. Everything
that would take minutes or a network has its flags looked up in its own help.
"""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--width=64", "--height=64", "--steps=2", "--device=cpu", "--batching=exact")
ELSEWHERE = ("pull",)
"""The commands of ``engine.models`` that need a network."""


def main(words: list[str]) -> int:
    """Run ``python WORDS`` and return its exit status."""
    sys.path.insert(0, str(ROOT))
    if words[:1] == ["-c"]:
        exec(compile(words[1], "-c", "exec"), {"__name__": "__main__"})
        return 0
    if words[:1] != ["-m"]:
        raise SystemExit(f"python {' '.join(words)}: say in {__file__} how to check this command")
    module, flags = words[1], words[2:]
    models = os.environ["README_MODELS"]
    if module == "engine.generate":
        from engine.generate import main as generate

        return generate([*flags, *SMALL, f"--models={models}"])
    if module == "engine.models" and flags[0] not in ELSEWHERE and not any("://" in word for word in flags):
        from engine.models.__main__ import main as manage

        return manage([*flags, f"--models={models}"])
    if module == "server":
        return _server(flags, models)
    return _check_flags(module, flags)


def _server(flags: list[str], models: str) -> int:
    """Make a key as the command does; of a server that would start, only read the settings."""
    import server.__main__ as command

    for name, value in os.environ.items():
        if name.startswith("SD_"):  # a README shortens a key's hash
            os.environ[name] = value.replace("…", "0" * 64)
    os.environ.setdefault("SD_MODELS_FOLDERS", models)
    command._serve = lambda settings: 0
    return command.main(flags)


def _check_flags(module: str, flags: list[str]) -> int:
    """Look up each flag in the command's help, and whether the named subcommand exists."""
    subcommand = [flags[0]] if flags and module == "engine.models" else []
    words = _help(module, subcommand).replace("[", " ").replace("]", " ").replace(",", " ").split()
    ours = flags[: flags.index("--")] if "--" in flags else flags  # what follows goes to another program
    unknown = [flag for flag in ours if flag.startswith("--") and flag.split("=")[0] not in words]
    if not words or unknown:
        print(f"python -m {module}: {unknown or 'no help'}", file=sys.stderr)
        return 2
    return 0


def _help(module: str, subcommand: list[str]) -> str:
    """What the command prints for ``--help``, kept beside the models: a block often runs one command several times."""
    kept = Path(os.environ["README_MODELS"]).parent / f"{module}.help"
    if not subcommand and kept.exists():
        return kept.read_text()
    shown = io.StringIO()
    sys.argv = [module, *subcommand, "--help"]
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        runpy.run_module(module, run_name="__main__")
    if not subcommand:
        kept.write_text(shown.getvalue())
    return shown.getvalue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
