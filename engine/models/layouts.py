"""How a models folder is laid out: flat, as ComfyUI's, or as AUTOMATIC1111's; and the files in it.

Opens no file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.tensors.kinds import FileKind

SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
"""Of files that are looked at; of two files that differ in nothing else, the earlier suffix counts."""

_NAMES: Mapping[str, FileKind] = {
    "checkpoints": "checkpoints",
    "stable-diffusion": "checkpoints",
    "loras": "loras",
    "lora": "loras",
    "lycoris": "loras",
    "vae": "vae",
    "controlnet": "controlnet",
    "t2i_adapter": "controlnet",
    "embeddings": "embeddings",
    "upscale_models": "upscale_models",
    "esrgan": "upscale_models",
    "realesrgan": "upscale_models",
}
"""The names of folders, in ComfyUI's and AUTOMATIC1111's layouts, and what they hold."""

_AUTOMATIC1111 = "stable-diffusion"
_DEEPEST = 8


def kind_folder(folder: Path, kind: FileKind) -> Path:
    """Return where in the models folder ``folder`` a new file of ``kind`` belongs; it may not be there yet.

    That is the folder for its kind in whichever layout there is; a flat folder takes checkpoints itself, and has
    ComfyUI's folders for the rest.
    """
    return next((root for root, holds in kind_folders(folder) if holds == kind), _new_folder(folder, kind))


def _new_folder(folder: Path, kind: FileKind) -> Path:
    flat = not any(holds == "checkpoints" for _, holds in kind_folders(folder))
    return folder if kind == "checkpoints" and flat else folder / kind


def kind_folders(folder: Path) -> list[tuple[Path, FileKind]]:
    """Return the folders for one kind each that ``folder`` has; with AUTOMATIC1111's, the embeddings that lie beside
    it."""
    found = [(folder / name, _NAMES[name.lower()]) for name in _folders_in(folder) if name.lower() in _NAMES]
    if any(root.name.lower() == _AUTOMATIC1111 for root, _ in found):
        beside = Path(os.path.abspath(folder)).parent / "embeddings"
        found += [(beside, "embeddings")] if beside.is_dir() else []
    order = list(_NAMES)
    return sorted(found, key=lambda entry: (order.index(entry[0].name.lower()), entry[0].name))


def _folders_in(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:  # no such folder, or no permission to read it
        return []


@dataclass(frozen=True)
class Place:
    """A file, the folder that its name starts below, and the kind of files that this folder holds."""

    path: Path
    root: Path
    holds: FileKind | None


def places(folder: Path) -> Iterator[Place]:
    """All files in a models folder, those in folders for one kind first."""
    own = kind_folders(folder)
    for root, holds in own:
        yield from (Place(path, root, holds) for path in _walk(root, ()))
    for path in _walk(folder, tuple(root for root, _ in own)):
        lone = path.parent == folder and path.suffix in (".safetensors", ".ckpt")
        yield Place(path, folder, "checkpoints" if lone else None)


def _walk(root: Path, apart: tuple[Path, ...]) -> Iterator[Path]:
    """The weights files in ``root`` and its subfolders but those ``apart``, each folder once however it is linked."""
    visited: set[str] = set()
    stack = [(root, 0)]
    while stack:
        folder, depth = stack.pop()
        real = os.path.realpath(folder)
        if real in visited or depth > _DEEPEST:
            continue
        visited.add(real)
        try:
            with os.scandir(folder) as entries:
                inner = sorted(entries, key=lambda entry: order_of(entry.name))
        except OSError:
            continue
        inner = [entry for entry in inner if not entry.name.startswith((".", "__"))]
        yield from (folder / entry.name for entry in inner if _is_weights(entry))
        below = [folder / entry.name for entry in inner if entry.is_dir()]
        stack += [(path, depth + 1) for path in reversed(below) if path not in apart]


def order_of(name: str) -> tuple[str, int]:
    """Return what files are sorted by: the name without its suffix, then the place of that in ``SUFFIXES``."""
    stem, suffix = os.path.splitext(name)
    return stem, SUFFIXES.index(suffix.lower()) if suffix.lower() in SUFFIXES else len(SUFFIXES)


def _is_weights(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file()
