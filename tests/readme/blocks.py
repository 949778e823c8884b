"""Finds the README files and reads the code blocks, settings and routes that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READMES = sorted(
    name
    for folder in ("", "engine/", "server/", "server/dialects/sdapi/", "models/", "benchmarks/", "benchmarks/results/")
    if (ROOT / (name := f"{folder}README.md")).is_file()
)
"""Paths from the root, of the files that exist."""

_FENCE = re.compile(r"(\s*)```(.*)")
_ROUTE = re.compile(r"`(?:(GET|POST|PUT|PATCH|DELETE) )?(/[^`?\s]*)(?:\?[^`]*)?`")
_FILES = re.compile(r"/(dev|etc|home|opt|proc|run|srv|tmp|usr|var)\b")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block of code."""

    file: str
    line: int
    """Of the block's first line of code, counted from 1."""
    language: str
    """What stands behind the fence; ``""`` for a block that names none, as every indented block."""
    text: str

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


def blocks_of(file: str) -> list[Block]:
    """The blocks of a README, in order."""
    return list(_read(file))


def _read(file: str) -> Iterator[Block]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    number, blank = 0, True
    while number < len(lines):
        fence = _FENCE.fullmatch(lines[number])
        if fence:
            end = next(n for n in range(number + 1, len(lines)) if lines[n].strip() == "```")
            inside = [line.removeprefix(fence[1]) for line in lines[number + 1 : end]]
            yield Block(file=file, line=number + 2, language=fence[2].strip(), text="\n".join(inside) + "\n")
            number = end
        elif blank and lines[number].startswith("    ") and lines[number].strip():
            yield Block(file=file, line=number + 1, language="", text=lines[number])
        blank = not lines[number].strip()
        number += 1


def prose_of(file: str) -> str:
    """The README without its fenced blocks."""
    return re.sub(r"(?ms)^\s*```.*?^\s*```$", "", (ROOT / file).read_text(encoding="utf-8"))


def settings_in(file: str) -> set[str]:
    """The server's settings that a README names as variables: ``SD_…``."""
    return set(re.findall(r"\bSD_[A-Z]\w*", (ROOT / file).read_text(encoding="utf-8")))


def routes_in(file: str) -> set[tuple[str | None, str]]:
    """The routes that a README names in its text, each with its method if that is named too."""
    found = {(method or None, path) for method, path in _ROUTE.findall(prose_of(file))}
    return {(method, path) for method, path in found if not _FILES.match(path)}


def links_in(file: str) -> set[str]:
    """The files that a README's links and pictures lead to, as paths from the root, without anchors."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose_of(file))
    folder = (ROOT / file).parent
    return {
        str((folder / target).resolve().relative_to(ROOT))
        for target in targets
        if not re.match(r"\w+://|mailto:", target)
    }
