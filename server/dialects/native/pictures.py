"""The pictures, as they were written or converted to another format."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from server.dialects.native.describe import problems
from server.job import PICTURE_NAME
from server.pictures.formats import FORMAT_OF_SUFFIX, PICTURE_CONTENT, Format, converted
from server.pictures.thumbnails import WIDTHS, Thumbnails
from server.problems import bad_request, not_found
from server.web.services import Services

_SHOWN = 200
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "the picture", "content": PICTURE_CONTENT},
    304: {"description": "the caller has it already"},
    **problems(400, 403, 404, 503),
}


def add_routes(router: APIRouter, services: Services) -> None:
    """Add them to ``router``."""
    thumbnails = Thumbnails(services.outputs)

    @router.get("/images/{name}", responses=_ANSWERS, response_class=Response, response_model=None)
    async def picture(
        http: Request,
        name: str,
        quality: Annotated[int | None, Query(ge=0, le=100, description="of a JPEG or WebP; 90 by default")] = None,
        width: Annotated[
            int | None, Query(ge=WIDTHS[0], le=WIDTHS[1], description="of a thumbnail, which is never enlarged")
        ] = None,
    ) -> Response:
        """A picture by its name. Every PNG carries its parameters; the same name with `.jpeg` or `.webp` gives the
        converted picture, which carries them as EXIF, and with `width` a thumbnail, which carries nothing. Needs no
        key, and never changes."""
        stem, _, ending = name.rpartition(".")
        if ending not in FORMAT_OF_SUFFIX or not PICTURE_NAME.fullmatch(f"{stem}.png"):
            raise not_found("picture", name[:_SHOWN])
        kind = FORMAT_OF_SUFFIX[ending]
        if kind == "png" and quality is not None:
            raise bad_request("quality", quality, "nothing for a PNG, which loses nothing")
        if width is not None and (kind == "png" or quality is not None):
            field, value = ("width", width) if kind == "png" else ("quality", quality)
            raise bad_request(field, value, "nothing: thumbnails are JPEG or WebP, of one quality")
        etag = f'"{stem}-{kind}-{"" if quality is None else quality}{"" if width is None else f"w{width}"}"'
        headers = {"ETag": etag, "Cache-Control": "public, max-age=31536000, immutable"}
        known = etag in [tag.strip().removeprefix("W/") for tag in http.headers.get("if-none-match", "").split(",")]
        try:
            if known and await services.outputs.exists(f"{stem}.png"):
                return Response(status_code=304, headers=headers)
            data = await _data(services, thumbnails, f"{stem}.png", kind, quality, width)
        except KeyError:
            raise not_found("picture", name) from None
        return Response(data, 200, headers, f"image/{kind}")


async def _data(
    services: Services, thumbnails: Thumbnails, name: str, kind: Format, quality: int | None, width: int | None
) -> bytes:
    """Return the picture as it was asked for. Raises ``KeyError`` if there is none of that name."""
    if width is not None and kind != "png":
        return await thumbnails.get(name, kind, width)
    png = await services.outputs.read(name)
    return png if kind == "png" else await converted(png, kind, quality)
