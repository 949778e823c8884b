"""AUTOMATIC1111's second pass: which size it has, what it begins from, and how it is sampled. Knows no prompt."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.workflow.editing import ResizePictures
from engine.workflow.encoding import Encode
from engine.workflow.latents import CropLatents, Latents, ResizeLatents
from engine.workflow.models import Vae
from engine.workflow.pictures import Decode, Pictures
from engine.workflow.sizes import PIXELS_PER_CELL
from engine.workflow.upscaling import Upscale, UpscalerFile

if TYPE_CHECKING:
    from engine.request import GenerationRequest
    from engine.request_a1111 import A1111
    from engine.request_parts import Hires

KERNELS = ("lanczos", "nearest-bytes")
"""How pictures are enlarged without a network."""


@dataclass(frozen=True, kw_only=True)
class SecondSize:
    """The size of a second pass, and what the first one is scaled to before its middle is taken, in pixels."""

    width: int
    height: int
    scaled_width: int
    scaled_height: int

    @staticmethod
    def of(width: int, height: int, *, scale: float = 2.0, x: int = 0, y: int = 0) -> SecondSize:
        """Return the size behind a first pass of ``width`` × ``height``: times ``scale``, or as ``x`` and ``y`` say.

        Where one of these is 0, the aspect ratio stays; where both are given, the larger scale counts. All sides are
        rounded down to multiples of 8.
        """
        if not x and not y:
            x, y = int(width * scale), int(height * scale)
            scaled = x, y
        elif not x or not y:
            x, y = x or y * width // height, y or x * height // width
            scaled = x, y
        else:
            wider = width * y < x * height
            scaled = (x, x * height // width) if wider else (y * width // height, y)
        x, y, *scaled_sides = (side - side % PIXELS_PER_CELL for side in (x, y, *scaled))
        return SecondSize(width=x, height=y, scaled_width=scaled_sides[0], scaled_height=scaled_sides[1])

    def middle(self, latents: Latents) -> Latents:
        """Return the middle of latents that are scaled, where they are larger than the second pass in one side."""
        left, above = self.scaled_width - self.width, self.scaled_height - self.height
        if not left and not above:
            return latents
        x, y = ((more // PIXELS_PER_CELL // 2) * PIXELS_PER_CELL for more in (left, above))
        return CropLatents(latents=latents, x=x, y=y, width=self.width, height=self.height)


@dataclass(frozen=True, kw_only=True)
class Enlarging:
    """How what the first pass has made becomes larger."""

    method: str | None = None
    """How latents are scaled; None: its pictures are."""
    kernel: str = "lanczos"
    """How pictures are scaled."""
    upscaler: str | None = None
    """The file of a network that enlarges pictures before that."""

    def start(self, first: Latents, width: int, height: int, size: SecondSize, vae: Vae, second_vae: Vae) -> Latents:
        """Return what the second pass begins from, behind a first pass of ``width`` × ``height``.

        A network is left out where it would have to shrink.
        """
        wide, high = size.scaled_width, size.scaled_height
        if self.method is not None:
            return size.middle(ResizeLatents(latents=first, method=self.method, width=wide, height=high))
        pictures: Pictures = Decode(latents=first, vae=vae)
        if self.upscaler is not None and (wide > width or high > height):
            pictures = Upscale(upscaler=UpscalerFile(name=self.upscaler), pictures=pictures)
            width = 0  # the factor is the file's secret
        if (wide, high) != (width, height):
            pictures = ResizePictures(pictures=pictures, method=self.kernel, width=wide, height=high)
        return size.middle(Encode(pictures=pictures, vae=second_vae))


def size_of_second(request: GenerationRequest, hires: Hires) -> SecondSize:
    """Return the size of the second pass of a request for AUTOMATIC1111's picture."""
    if hires.width is not None and hires.height is not None:
        return SecondSize.of(request.width, request.height, x=hires.width, y=hires.height)
    return SecondSize.of(request.width, request.height, scale=2.0 if hires.scale is None else hires.scale)


def enlarging_of(part: A1111, hires: Hires) -> Enlarging:
    """Return how the second pass of a request for AUTOMATIC1111's picture begins."""
    if part.hires_kernel is not None:
        return Enlarging(kernel=part.hires_kernel)
    if hires.upscaler is not None:
        return Enlarging(upscaler=hires.upscaler)
    return Enlarging(method=hires.method)


def part_of_second(part: A1111, hires: Hires) -> A1111:
    """Return what decides AUTOMATIC1111's picture in the second pass."""
    sampler = None if hires.sampler is not None else part.sampler
    schedule = None if hires.scheduler is not None else part.schedule
    return dataclasses.replace(part, sampler=part.hires_sampler or sampler, schedule=part.hires_schedule or schedule)
