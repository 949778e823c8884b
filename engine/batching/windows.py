"""Rectangles of latents, in cells and in shares of their sides. Imports no torch, for what is known before a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Window(NamedTuple):
    """A part of the latents, in cells."""

    top: int
    left: int
    height: int
    width: int

    @property
    def cells(self) -> int:
        """How many it has."""
        return self.height * self.width

    def of(self, x: Tensor) -> Tensor:
        """Return the window of x (…, h, w), a view."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def contains(self, other: Window) -> bool:
        """Return whether all of ``other`` lies in this one."""
        return (
            self.top <= other.top
            and self.left <= other.left
            and other.top + other.height <= self.top + self.height
            and other.left + other.width <= self.left + self.width
        )

    def cut(self, height: int, width: int) -> Window:
        """Return what lies in latents of ``height`` × ``width`` cells. Raises ``ValueError`` where nothing does."""
        if self.top >= height or self.left >= width:
            raise ValueError(f"{self} lies outside latents of {height} × {width} cells")
        return self._replace(height=min(self.height, height - self.top), width=min(self.width, width - self.left))


class Shares(NamedTuple):
    """A part of the latents, in shares of their height and width."""

    top: float
    left: float
    height: float
    width: float

    def window(self, height: int, width: int) -> Window:
        """Return the part of latents of ``height`` × ``width`` cells, at least one cell each way."""
        return Window(
            top=round(self.top * height),
            left=round(self.left * width),
            height=max(1, round(self.height * height)),
            width=max(1, round(self.width * width)),
        )
