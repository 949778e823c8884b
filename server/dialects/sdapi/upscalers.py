"""AUTOMATIC1111's upscalers of pictures: none, two kernels, and the files of the models folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.workflow.upscaling import Upscale, UpscalerFile
from server.backends.checkpoints import FileInfo
from server.dialects.sdapi.files import file_named
from server.dialects.sdapi.pictures import Sized

KERNELS: Mapping[str, str] = {"None": "lanczos", "Lanczos": "lanczos", "Nearest": "nearest-bytes"}
"""The names of upscalers without a file → how pixels are interpolated."""


def upscaler_named(wanted: str, files: Sequence[FileInfo], place: str, *others: str) -> str:
    """Return a name of ``KERNELS``, or that of a file. ``others`` are further names that are allowed.

    Raises ``Problem`` on ``place`` for one that is neither.
    """
    return wanted if wanted in KERNELS else file_named(wanted, files, place, *KERNELS, *others)


def enlarged(picture: Sized, upscaler: str, width: int, height: int) -> Sized:
    """Return a picture in another size: by a kernel, or by a network and then by Lanczos' kernel.

    A network is left out where it would have to shrink. As in AUTOMATIC1111, one network's pictures may be smaller than
    the size, and are stretched.
    """
    if upscaler in KERNELS:
        return picture.scaled(width, height, KERNELS[upscaler])
    if width <= picture.width and height <= picture.height:
        return picture.scaled(width, height)
    made = Upscale(upscaler=UpscalerFile(name=upscaler), pictures=picture.pictures)
    return Sized(pictures=made, width=0, height=0).scaled(width, height)  # its factor is the file's secret
