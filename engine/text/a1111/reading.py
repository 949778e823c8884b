"""How AUTOMATIC1111's settings have prompts read: whether words weigh, where chunks end.

Knows no tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.text.a1111.emphasis import Weighted, weighted

EMPHASES = ("original", "no_norm", "ignore", "none")
"""What weights do: multiply features, whose mean is then restored; multiply alone; nothing; there are none, and
brackets are text."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How one prompt is read. The defaults are AUTOMATIC1111's."""

    emphasis: str = "original"
    """One of ``EMPHASES``."""
    old_emphasis: bool = False
    """Whether weights come from tokens that hold brackets, and what follows the first 75 tokens is left out."""
    comma_backtrack: int = 20
    """Tokens from a chunk's end within which a comma is looked for, behind which the words go to the next chunk."""

    @property
    def weighs(self) -> bool:
        """Whether brackets are read at all."""
        return self.emphasis != "none"

    def weighted(self, text: str, field: str = "text") -> tuple[Weighted, ...]:
        """Return the words of ``text`` and their weights, as ``emphasis.weighted`` and with its errors; all of the text
        where nothing is read."""
        return weighted(text, field) if self.weighs and not self.old_emphasis else ((text, 1.0),)
