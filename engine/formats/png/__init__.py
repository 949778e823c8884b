"""PNG files that carry what they were made from."""

from engine.formats.png.chunks import text_chunks
from engine.formats.png.files import writable_folder, write_png
from engine.formats.png.pictures import (
    encode_png,
    picture_metadata,
    record_from_png,
    request_from_png,
    wanted_from_png,
    workflow_metadata,
)

__all__ = [
    "encode_png",
    "picture_metadata",
    "record_from_png",
    "request_from_png",
    "text_chunks",
    "wanted_from_png",
    "workflow_metadata",
    "writable_folder",
    "write_png",
]
