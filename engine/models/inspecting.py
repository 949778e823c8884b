"""A weights file → what it is and how large, or why it is of no use here. Loads no weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BrokenCheckpoint, UnknownCheckpoint
from engine.models.folders import KINDS, WORDS
from engine.tensors.entries import UnreadableFile
from engine.tensors.header import read_tensor_file
from engine.tensors.kinds import FileKind, content_by_shapes


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What is found in a file."""

    kind: FileKind
    words: str
    """``sound Stable Diffusion 1.x checkpoint``, ``a LoRA``."""
    parameters: int
    """Values in its tensors; of a checkpoint, in its networks."""


def inspect_file(path: Path) -> Inspected:
    """Return what the file in ``path`` is. Of a checkpoint every tensor's name and shape is checked, of others none.

    Raises ``BrokenCheckpoint`` for a file of no kind that the engine works with, and ``UnknownCheckpoint`` for none.
    """
    from engine.checkpoint import inspect_checkpoint

    try:
        file = read_tensor_file(path)
    except FileNotFoundError:
        raise UnknownCheckpoint("model", str(path), "the path of a file that is there") from None
    except UnreadableFile as error:
        raise BrokenCheckpoint(path, str(error)) from None
    except (OSError, ValueError) as error:
        raise BrokenCheckpoint(path, f"it cannot be read: {error}") from None
    content = content_by_shapes(file.shapes, file.nested)
    if content.kind == "checkpoints":
        facts = inspect_checkpoint(path)
        lacking = [part for part, size in (("VAE", facts.vae_widths), ("text encoder", facts.text_layers)) if not size]
        words = f"sound Stable Diffusion 1.x checkpoint{''.join(f', without its {part}' for part in lacking)}"
        return Inspected(kind="checkpoints", words=words, parameters=facts.parameters)
    if content.kind is None:
        is_what = f"it is {content.words}" if content.words else f"none of its {len(file.entries)} tensors is known"
        kinds = ", ".join(WORDS[kind] for kind in KINDS)
        raise BrokenCheckpoint(path, f"{is_what}; the engine works with {kinds}")
    return Inspected(kind=content.kind, words=content.words, parameters=sum(map(math.prod, file.shapes.values())))
