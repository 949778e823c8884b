"""The texts that ComfyUI writes into its PNGs: the posted graph, and what its editor sent along to be kept with it."""

from __future__ import annotations

import json
import re

from server.job import Job

_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,78}")

_RESERVED = frozenset(
    {
        "prompt", "parameters", "engine",
        "aspect", "background", "bbox", "blend", "comment", "default_image", "disposal", "dpi", "duration", "exif",
        "gamma", "icc_profile", "interlace", "loop", "srgb", "timestamp", "transparency", "xmp",
    }
)  # fmt: skip
"""Keywords that callers may not choose: the server's own, and those that Pillow reads as settings of the picture."""


def png_texts(job: Job, number: int = 0) -> dict[str, str]:
    """Write the posted graph as ``prompt``, and each entry of ``extra_pnginfo`` (the editor's ``workflow``) by its
    name, all as JSON. Entries whose name is no keyword of a PNG text are left out."""
    kept = job.extra["extra_data"].get("extra_pnginfo")
    entries = kept if isinstance(kept, dict) else {}
    named = {name: value for name, value in entries.items() if _KEYWORD.fullmatch(name) and name not in _RESERVED}
    return {name: json.dumps(value) for name, value in [("prompt", job.extra["prompt"]), *named.items()]}
