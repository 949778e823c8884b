"""Graphs of core nodes alone as people have them, from public repositories, with other texts and file names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GRAPHS: dict[str, dict[str, Any]] = {
    entry["name"]: entry["graph"]
    for entry in map(json.loads, (Path(__file__).parent / "workflows" / "wild.jsonl").read_text().splitlines())
}
"""The graphs by name, as found."""

_FILLED: dict[str, Any] = {
    "scale": 7.5,
    "cfg": 7.5,
    "sampler": "euler",
    "sampler_name": "euler",
    "scheduler": "normal",
    "seed": 5,
    "steps": 4,
    "width": 512,
    "height": 512,
    "batch_size": 1,
    "loraName": "lora1",
    "loraStrength": 0.8,
    "loraClipStrength": 0.8,
}
"""What a program would put in the place of the placeholders in these graphs."""

BROKEN = {
    "wild04": "workflow node 5 (Canny) low_threshold",  # 100, of at most 0.99
    "wild05": "workflow node 5 (CLIPTextEncode) clip",  # a VAE
    "wild61": "workflow node 3 (KSampler) seed",  # a word in place of a number
    "wild86": "workflow node 76 (ImageUpscaleWithModel) image",  # nothing
}
"""Graphs that ComfyUI refuses too, and where."""

UNKNOWN_FILE = {"wild22": "workflow node 35 (CheckpointLoaderSimple) ckpt_name"}
"""Graphs with a name that no weights file can have, and where: it ends in ``?download=true``."""

_KINDS = {
    "ckpt_name": "checkpoints",
    "lora_name": "loras",
    "vae_name": "vae",
    "control_net_name": "controlnet",
    "model_name": "upscale_models",
    "image": "input",
}
"""The inputs that name files → the folder that those lie in."""

_SIDES = ("width", "height", "x", "y", "feather")
_SMALLER = 6
"""By what sides in pixels are divided in ``small``."""

_LEAST = 64
"""The least width and height that all classes take."""

_STEPS = ("steps", "start_at_step", "end_at_step")
_FEWER = 8
"""By what numbers of steps are divided in ``small``."""


def filled(graph: dict[str, Any]) -> dict[str, Any]:
    """Return ``graph`` with values in the place of its placeholders."""
    text = json.dumps(graph)
    for name, value in _FILLED.items():
        for placeholder in (f'"%{name}%"', f'"${{{name}}}"', f'"{{{{{name}}}}}"'):
            text = text.replace(placeholder, json.dumps(value))
    read: dict[str, Any] = json.loads(text)
    return read


def small(graph: dict[str, Any]) -> dict[str, Any]:
    """Return ``graph`` for pictures of a sixth of the width and height, in an eighth of the steps, at least two."""
    made: dict[str, Any] = json.loads(json.dumps(graph))
    for node in made.values():
        for name, value in node["inputs"].items():
            if name in _SIDES and isinstance(value, int):
                least = _LEAST if name in ("width", "height") else 0
                node["inputs"][name] = max(least, value // _SMALLER // 8 * 8)
            elif name in _STEPS and isinstance(value, int):
                node["inputs"][name] = max(2, value // _FEWER) if name == "steps" else value // _FEWER
    return made


def files(graph: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the folder and the name, with ``/``, of each file that ``graph`` names."""
    for node in graph.values():
        for name, value in node["inputs"].items():
            if name in _KINDS and isinstance(value, str):
                yield _KINDS[name], value.replace("\\", "/")
