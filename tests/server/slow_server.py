"""Runs ``python -m server`` with a slow instant backend, so that a test can kill it while it works.

Takes the seconds of a step, then the server's own flags.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import server.backends.instant
    from server.__main__ import main

    seconds = float(sys.argv[1])
    server.backends.instant.InstantBackend = functools.partial(
        server.backends.instant.InstantBackend, step_seconds=seconds
    )  # type: ignore
    sys.exit(main(sys.argv[2:]))
