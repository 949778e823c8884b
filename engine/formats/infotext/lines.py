"""AUTOMATIC1111's ``parameters`` text ⇄ the prompts, and the ``Key: value`` pairs of its last line.

Knows no key. The text cannot hold a prompt that has a line starting with ``Negative prompt:``; every other prompt comes
back as it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import BadRequest

LONGEST = 2**18
"""Characters of a text that is read."""

PROGRAM = "stable-diffusion-engine"
"""What ``Version`` begins with in a text of ours."""

_NEGATIVE = "Negative prompt:"
_VERSION = ", Version: "
_SEPARATORS = frozenset(',:\n"')
_KEY = re.compile(r"\w[\w \-/]+")


@dataclass(frozen=True, kw_only=True)
class Infotext:
    """What a text says, unread."""

    prompt: str
    negative_prompt: str
    pairs: Mapping[str, str]

    @property
    def ours(self) -> bool:
        """Whether this project wrote it."""
        return self.pairs.get("Version", "").startswith(PROGRAM)

    def text(self) -> str:
        """Return the text."""
        line = ", ".join(f"{key}: {_quoted(value)}" for key, value in self.pairs.items())
        negative = f"\n{_NEGATIVE} {self.negative_prompt}" if self.negative_prompt else ""
        return f"{self.prompt}{negative}\n{line}"

    @staticmethod
    def of(text: str) -> Infotext:
        """Return what ``text`` says. Raises ``BadRequest`` on ``infotext`` for a text without parameters."""
        if not isinstance(text, str) or len(text) > LONGEST:
            raise BadRequest("infotext", text, f"text of at most {LONGEST} characters")
        head, _, line = text.rstrip().rpartition("\n")
        pairs = _pairs(line)
        if not pairs.get("Version", "").startswith(PROGRAM):
            head = f"{head}\n".replace("\r\n", "\n")[:-1]
        prompt, negative_prompt = _prompts(head)
        return Infotext(prompt=prompt, negative_prompt=negative_prompt, pairs=pairs)


def with_pairs(text: str, pairs: Mapping[str, str]) -> str:
    """Return a text that this project wrote with further pairs before its version, which ends it."""
    head, _, version = text.rpartition(_VERSION)
    return "".join([head, *(f", {key}: {_quoted(value)}" for key, value in pairs.items()), _VERSION, version])


def _quoted(value: str) -> str:
    """Quoted as AUTOMATIC1111 does where a comma, colon or newline would break the line, and where a reader would trim
    or unquote."""
    needs = not _SEPARATORS.isdisjoint(value) or value != value.strip()
    return json.dumps(value, ensure_ascii=False) if needs else value


def _pairs(line: str) -> dict[str, str]:
    """The parameters line's keys and values. Read in one pass: the line may be long and hostile."""
    pairs: dict[str, str] = {}
    at = 0
    while at < len(line):
        comma = _comma(line, at)
        key, colon, _ = line[at:comma].partition(":")
        if not colon or not _KEY.fullmatch(key.strip()):
            if line[at:comma].strip():
                raise BadRequest("infotext", line, "a last line of at least three Key: value pairs, joined by commas")
            at = comma + 1
            continue
        value, at = _value(line, at + len(key) + 1, comma)
        key = key.strip()
        if pairs.setdefault(key, value) != value:
            raise BadRequest(f"infotext {key}", value, "one value for each key")
    required = ("Steps", "Sampler", "CFG scale", "Seed", "Size")
    missing = [key for key in required if key not in pairs]
    if missing:
        raise BadRequest("infotext", line, f"a last line with {', '.join(required)}; {', '.join(missing)} missing")
    return pairs


def _comma(line: str, at: int) -> int:
    """The next comma's place, or the line's end."""
    found = line.find(",", at)
    return found if found >= 0 else len(line)


def _value(line: str, at: int, comma: int) -> tuple[str, int]:
    """The value that starts at ``at`` and, unless it is JSON, ends at ``comma``; and where the next pair starts.

    AUTOMATIC1111 quotes as JSON does; some of its extensions write whole JSON objects.
    """
    start = at + len(line[at:comma]) - len(line[at:comma].lstrip())
    if line.startswith(('"', "{", "["), start):
        try:
            value, end = json.JSONDecoder().raw_decode(line, start)
        except (ValueError, RecursionError):
            return line[start:comma].strip(), comma + 1
        after = _comma(line, end)
        if not line[end:after].strip():
            return value if isinstance(value, str) else line[start:end], after + 1
    return line[start:comma].strip(), comma + 1


def _prompts(head: str) -> tuple[str, str]:
    """Prompt and negative prompt: the latter starts at the first line that says so, and may hold anything."""
    if head.startswith(_NEGATIVE):
        prompt, negative = "", head[len(_NEGATIVE) :]
    else:
        prompt, _, negative = head.partition("\n" + _NEGATIVE)
    return prompt, negative.removeprefix(" ")
