"""A picture that a caller handed in, and what keeps it. Knows no file, database or HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.workflow.sizes import PictureSize

CALL = ""
"""The owner of the holds of calls, whose names are drawn."""


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A reason to keep an input that no job has, for a while. There is one of each owner and name at a time."""

    owner: str
    """The client that an upload belongs to, or ``CALL``."""
    name: str
    """The owner's name for the input."""
    since: float
    """The Unix time of the call."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """A picture that a caller handed in."""

    id: str
    """The SHA-256 of its bytes, as hexadecimal digits."""
    file: str
    """The name of its file in the storage of inputs. No two uploads have the same, even of the same bytes."""
    bytes: int
    size: PictureSize
    """Its frames, their height and width in pixels, and whether it has transparency."""
    hold: Hold | None = field(default=None, compare=False)
    """What keeps it between the call that handed it in and the acceptance of that call's job."""

    @property
    def created(self) -> int:
        """The Unix time at which its file was written, which the file's name holds."""
        return int(self.file.rsplit("-", 2)[1], 16)

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> Input:
        """Return the input that ``to_json`` wrote."""
        return Input(id=kept["id"], file=kept["file"], bytes=kept["bytes"], size=PictureSize(**kept["size"]))

    def to_json(self) -> dict[str, Any]:
        """Return all but the hold as JSON."""
        return {"id": self.id, "file": self.file, "bytes": self.bytes, "size": asdict(self.size)}
