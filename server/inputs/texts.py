"""Pictures as text: base64 as encoders write it, and ``data:`` URLs. Knows no pictures, only bytes."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from server.problems import bad_request

_SHOWN = 40
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def bytes_of(text: str, field: str) -> bytes:
    """Return the bytes that ``text`` stands for: a ``data:`` URL or base64, also in lines, url-safe or unpadded.

    Raises ``BadRequest`` as a problem that names ``field``.
    """
    head, comma, data = text.strip().partition(",")
    if head[:5].lower() != "data:":
        return _decoded(text, text, field)
    if not comma:
        raise _refused(text, field)
    if head.lower().endswith(";base64"):
        return _decoded(unquote_to_bytes(data).decode("latin-1"), text, field)
    return unquote_to_bytes(data)


def _decoded(data: str, text: str, field: str) -> bytes:
    try:
        plain = b"".join(data.encode("ascii").split()).translate(_URL_SAFE).rstrip(b"=")
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise _refused(text, field) from None


def _refused(text: str, field: str) -> Exception:
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return bad_request(field, shown, "a picture's file in base64, also as a data: URL")
