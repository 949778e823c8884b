"""Pictures that a caller handed in → nodes: opaque, and of the size that AUTOMATIC1111's resize modes give them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.workflow.editing import (
    CompositePictures,
    CropPictures,
    EmptyPictures,
    ExtendPictures,
    PicturesFromBatch,
    ResizePictures,
)
from engine.workflow.masks import InvertMask, LoadTransparency
from engine.workflow.pictures import LoadPicture, Pictures
from server.inputs.input import Input

STRETCH, CROP, FILL, LATENTS = range(4)
"""The resize modes. The last one leaves a picture as it is: its latents are stretched."""

_WHITE = 0xFFFFFF


@dataclass(frozen=True, kw_only=True)
class Sized:
    """A picture, and its size in pixels."""

    pictures: Pictures
    width: int
    height: int

    def scaled(self, width: int, height: int, method: str = "lanczos") -> Sized:
        """Return it in another size, whatever that does to its aspect ratio."""
        if (width, height) == (self.width, self.height):
            return self
        resized = ResizePictures(pictures=self.pictures, method=method, width=width, height=height)
        return Sized(pictures=resized, width=width, height=height)

    def part(self, x: int, y: int, width: int, height: int) -> Sized:
        """Return a part of it, which lies within it."""
        if (x, y, width, height) == (0, 0, self.width, self.height):
            return self
        part = CropPictures(pictures=self.pictures, x=x, y=y, width=width, height=height)
        return Sized(pictures=part, width=width, height=height)

    def pasted(self, above: Sized, x: int, y: int) -> Sized:
        """Return it with another picture on it."""
        return replace(self, pictures=CompositePictures(below=self.pictures, above=above.pictures, x=x, y=y))

    def fitted(self, width: int, height: int, mode: int) -> Sized:
        """Return it in another size by a resize mode."""
        if mode == CROP:
            return self._cropped(width, height)
        return self._filled(width, height) if mode == FILL else self.scaled(width, height)

    def _cropped(self, width: int, height: int) -> Sized:
        """Scale it so that it covers the size, and take the middle."""
        wider = width * self.height > self.width * height
        covering = self.scaled(
            width if wider else self.width * height // self.height,
            self.height * width // self.width if wider else height,
        )
        return covering.part((covering.width - width) // 2, (covering.height - height) // 2, width, height)

    def _filled(self, width: int, height: int) -> Sized:
        """Scale it so that it fits in, and let its edges go on over the rest."""
        narrower = width * self.height < self.width * height
        inside = self.scaled(
            max(1, width if narrower else self.width * height // self.height),
            max(1, self.height * width // self.width if narrower else height),
        )
        if (inside.width, inside.height) == (width, height):
            return inside
        extended = ExtendPictures(pictures=inside.pictures, width=width, height=height)
        return Sized(pictures=extended, width=width, height=height)


def picture_of(input: Input) -> Sized:
    """Return the first frame of a picture that was handed in, on white where it is transparent."""
    size = input.size
    picture: Pictures = LoadPicture(name=input.id)
    if size.alpha:
        white = EmptyPictures(width=size.width, height=size.height, batch_size=size.pictures, colour=_WHITE)
        opacity = InvertMask(mask=LoadTransparency(name=input.id))
        picture = CompositePictures(below=white, above=picture, mask=opacity)
    if size.pictures > 1:
        picture = PicturesFromBatch(pictures=picture)
    return Sized(pictures=picture, width=size.width, height=size.height)
