"""The pictures, as they were written or converted to another format."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from server.dialects.native.describe import problems
from server.job import PICTURE_NAME
from server.pictures.formats import FORMAT_OF_SUFFIX, PICTURE_CONTENT, converted
from server.problems import bad_request, not_found
from server.web.services import Services

_SHOWN = 200
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "the picture", "content": PICTURE_CONTENT},
    304: {"description": "the caller has it already"},
    **problems(400, 403, 404),
}


def add_routes(router: APIRouter, services: Services) -> None:
    """Add them to ``router``."""

    @router.get("/images/{name}", responses=_ANSWERS, response_class=Response, response_model=None)
    async def picture(
        http: Request,
        name: str,
        quality: Annotated[int | None, Query(ge=0, le=100, description="of a JPEG or WebP; 90 by default")] = None,
    ) -> Response:
        """A picture by its name. Every PNG carries its parameters; the same name with `.jpeg` or `.webp` gives the
        converted picture, which carries them as EXIF. Needs no key, and never changes."""
        stem, _, ending = name.rpartition(".")
        if ending not in FORMAT_OF_SUFFIX or not PICTURE_NAME.fullmatch(f"{stem}.png"):
            raise not_found("picture", name[:_SHOWN])
        kind = FORMAT_OF_SUFFIX[ending]
        if kind == "png" and quality is not None:
            raise bad_request("quality", quality, "nothing for a PNG, which loses nothing")
        try:
            png = await services.outputs.read(f"{stem}.png")
        except KeyError:
            raise not_found("picture", name) from None
        etag = f'"{stem}-{kind}-{"" if quality is None else quality}"'
        headers = {"ETag": etag, "Cache-Control": "public, max-age=31536000, immutable"}
        if etag in [tag.strip().removeprefix("W/") for tag in http.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        data = png if kind == "png" else await converted(png, kind, quality)
        return Response(data, 200, headers, f"image/{kind}")
