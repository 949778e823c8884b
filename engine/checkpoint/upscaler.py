"""One file → an upscaler of the ESRGAN kind, with the names that its weights have in any of three programs.

Knows nothing of pictures, or of who uses the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.checkpoint.weights import Weights, open_weights
from engine.errors import BrokenCheckpoint
from engine.networks.upscaler import Upscaler

_FOLDED = {3: 1, 12: 2, 48: 4}
"""The channels that enter → how many pixels are folded into one, each way."""

_RENAMED = (
    (re.compile(r"model\.1\.sub\.(\d+)\.RDB([123])\.conv([1-5])\.0\.(weight|bias)"), r"body.\1.rdb\2.conv\3.\4"),
    (re.compile(r"RRDB_trunk\.(\d+)\.RDB([123])\.conv([1-5])\.(weight|bias)"), r"body.\1.rdb\2.conv\3.\4"),
    (re.compile(r"model\.0\.(weight|bias)"), r"conv_first.\1"),
    (re.compile(r"trunk_conv\.(weight|bias)"), r"conv_body.\1"),
    (re.compile(r"upconv(\d)\.(weight|bias)"), r"conv_up\1.\2"),
    (re.compile(r"HRconv\.(weight|bias)"), r"conv_hr.\1"),
)
"""Older names → today's."""

_SEQUENCE = re.compile(r"model\.(\d+)\.(weight|bias)")
_LAST_BLOCK = re.compile(r"model\.1\.sub\.(\d+)\.(weight|bias)")


@dataclass(frozen=True, kw_only=True)
class UpscalerFacts:
    """What the names and shapes of an upscaler's tensors tell."""

    names: Mapping[str, str]
    """The network's names → the file's."""
    blocks: int
    enlargements: int
    """By two, each."""
    folded: int
    bytes: int
    """Of its weights in float32."""

    @property
    def factor(self) -> int:
        """By which it enlarges."""
        return int(2**self.enlargements) // self.folded


def inspect_upscaler(path: Path | str) -> UpscalerFacts:
    """Return what the header of the upscaler in ``path`` tells. Raises as ``load_upscaler``."""
    return _facts(Path(path), open_weights(Path(path), values=False))


def load_upscaler(path: Path | str, *, device: torch.device) -> Upscaler:
    """Load the upscaler in ``path`` to ``device``, in float32: half precision would show in the pictures.

    Raises ``UnknownCheckpoint`` if there is no such file, and ``BrokenCheckpoint``, which says what was found or
    missing, if it is not a sound upscaler of the ESRGAN kind.
    """
    path = Path(path)
    file = open_weights(path)
    facts = _facts(path, file)
    weights = {}
    for name, stored in facts.names.items():
        try:
            value = file.take(stored).to(device=device, dtype=torch.float32, copy=True)
        except Exception as error:
            raise BrokenCheckpoint(path, f"its tensor {stored} cannot be read ({error})") from error
        if not bool(value.isfinite().all()):
            raise BrokenCheckpoint(path, f"its tensor {stored} holds NaN or infinite values")
        weights[name] = value
    return Upscaler(weights, blocks=facts.blocks, enlargements=facts.enlargements, folded=facts.folded)


def _facts(path: Path, file: Weights) -> UpscalerFacts:
    names = _renamed(list(file.shapes))
    shapes = {name: file.shapes[stored] for name, stored in names.items()}
    first = shapes.get("conv_first.weight", ())
    if len(first) != 4 or first[1] not in _FOLDED:
        raise BrokenCheckpoint(path, "it is no upscaler of the ESRGAN kind, the only one that is read")
    blocks = 1 + max((int(name.split(".")[1]) for name in names if name.startswith("body.")), default=-1)
    enlargements = sum(name.startswith("conv_up") and name.endswith(".weight") for name in names)
    growth = shapes.get("body.0.rdb1.conv1.weight", (0,))[0]
    wanted = _wanted(first[0], first[1], growth, blocks, enlargements)
    wrong = next((name for name, shape in wanted.items() if shapes.get(name) != shape), None)
    if wrong is not None:
        found = f"has shape {shapes[wrong]}, not {wanted[wrong]}" if wrong in shapes else "is missing"
        raise BrokenCheckpoint(path, f"it is no whole upscaler of the ESRGAN kind: its {wrong} {found}")
    strange = next((name for name in names if name not in wanted), None)
    if strange is not None:
        raise BrokenCheckpoint(path, f"its tensor {strange[:100]} has no place in an upscaler of the ESRGAN kind")
    folded = _FOLDED[first[1]]
    if 2**enlargements < folded:
        raise BrokenCheckpoint(path, "it makes pictures smaller")
    size = sum(4 * torch.Size(shape).numel() for shape in wanted.values())
    return UpscalerFacts(names=names, blocks=blocks, enlargements=enlargements, folded=folded, bytes=size)


def _renamed(stored: list[str]) -> dict[str, str]:
    """Today's names → the file's. What older files number in a sequence behind the blocks is known by its order: the
    last two convolutions make the picture, those before them enlarge."""
    numbers = sorted({int(match[1]) for name in stored if (match := _SEQUENCE.fullmatch(name)) and match[1] != "0"})
    last = {str(number): f"conv_up{place + 1}" for place, number in enumerate(numbers[:-2])}
    last |= {str(number): name for number, name in zip(numbers[-2:], ("conv_hr", "conv_last"), strict=False)}
    names = {}
    for each in stored:
        name = each
        if (match := _SEQUENCE.fullmatch(each)) and match[1] in last:
            name = f"{last[match[1]]}.{match[2]}"
        elif match := _LAST_BLOCK.fullmatch(each):
            name = f"conv_body.{match[2]}"
        else:
            for pattern, replacement in _RENAMED:
                name = pattern.sub(replacement, name) if pattern.fullmatch(name) else name
        names[name] = each
    return names


def _wanted(features: int, entering: int, growth: int, blocks: int, enlargements: int) -> dict[str, tuple[int, ...]]:
    sides = {"conv_first": (features, entering), "conv_last": (3, features)}
    for block in range(blocks):
        for part in (1, 2, 3):
            for layer in range(1, 6):
                leaving = features if layer == 5 else growth
                sides[f"body.{block}.rdb{part}.conv{layer}"] = (leaving, features + growth * (layer - 1))
    for name in ("conv_body", "conv_hr", *(f"conv_up{number + 1}" for number in range(enlargements))):
        sides[name] = (features, features)
    weights = {f"{name}.weight": (*each, 3, 3) for name, each in sides.items()}
    return weights | {f"{name}.bias": (leaving,) for name, (leaving, _) in sides.items()}
