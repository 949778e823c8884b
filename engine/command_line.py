"""What the project's command lines share: mistakes are told in one line, and the exit status says whose they are.

Also where they keep what the next process may use again.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

CALLERS_MISTAKE = 2
FAILED = 1


class Parser(argparse.ArgumentParser):
    """An argument parser that tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(CALLERS_MISTAKE, f"error: {message}\n")


def say(error: object, status: int) -> int:
    """Print ``error`` as one line to standard error, and return ``status``."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return status


def cache_folder() -> Path | None:
    """The user's folder for ``EngineConfig.cache_folder``; None for a user who has no home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "stable-diffusion-engine"
    except RuntimeError:
        return None
