"""Helps the project's commands: errors in one line, exit statuses, common flags, the garbage collector.

What changes the whole process stands here and is called by commands alone, never by the engine as a library.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from engine.folders import models_folders

CALLERS_MISTAKE = 2
FAILED = 1


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(CALLERS_MISTAKE, f"error: {message}\n")


def say(error: object, status: int) -> int:
    """Print ``error`` as one line to standard error, and return ``status``."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return status


def add_models_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--models DIR``, which may be given several times; ``chosen_folders`` reads it."""
    default = ", then ".join(map(str, models_folders()))
    parser.add_argument(
        "--models",
        metavar="DIR",
        type=Path,
        action="append",
        help=f"models folder, in any layout; given several times, they are searched in order (default: {default})",
    )


def chosen_folders(options: argparse.Namespace) -> tuple[Path, ...]:
    """Return the models folders that ``--models`` names, or the default ones."""
    return tuple(options.models or models_folders())


@contextlib.contextmanager
def imports_kept_from_collector() -> Iterator[None]:
    """Make the garbage collector skip the modules that are imported meanwhile, for the rest of the process.

    Their objects stay until the end. The collector would go through them several times while torch, diffusers and
    transformers are imported, which is a quarter of the time of the import, and later now and then for a third of a
    second in which neither engine nor server moves. All other objects that exist by then are skipped too; garbage is
    collected first.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
