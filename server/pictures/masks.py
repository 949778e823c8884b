"""Makes masks of pictures' transparency. Works off the event loop."""

from __future__ import annotations

import asyncio
import io

_OPAQUE = 255


async def transparency_mask(data: bytes) -> bytes | None:
    """Return the PNG of a grey picture that is as bright as the given one is transparent.

    None where the given one is opaque all over. ``data`` is the file of a picture that ``read_input`` takes.
    """
    return await asyncio.to_thread(_mask, data)


def _mask(data: bytes) -> bytes | None:
    from PIL import Image

    from engine.pictures.inputs import read_input

    alpha = read_input("", [{"": data}]).alpha
    if alpha is None or alpha[0].min() == _OPAQUE:
        return None
    file = io.BytesIO()
    Image.fromarray(_OPAQUE - alpha[0]).save(file, "PNG", compress_level=1)
    return file.getvalue()
