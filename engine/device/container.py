"""What the container that this process runs in leaves it of the machine: Linux's control groups, versions 1 and 2."""

from __future__ import annotations

import math
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
"""Where Linux tells of them."""


def free_memory(folder: Path = GROUPS) -> int | None:
    """Bytes below the limit on memory, None where there is no limit. Cached files count as free, as they are."""
    versions = (
        (folder, "memory.max", "memory.current", "inactive_file"),
        (folder / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for where, limit_name, used_name, cached_name in versions:
        try:
            limit, used = (int((where / name).read_text()) for name in (limit_name, used_name))
            statistics = dict(line.split() for line in (where / "memory.stat").read_text().splitlines())
            return max(0, limit - used + int(statistics.get(cached_name, 0)))
        except (OSError, ValueError):  # no such version here, or "max"
            continue
    return None


def processors(folder: Path = GROUPS) -> int | None:
    """Return how many processors' time this process may take, rounded up, None where there is no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((folder / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return None
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return math.ceil(share) if share > 0 else None
