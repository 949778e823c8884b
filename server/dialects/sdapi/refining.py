"""The checkpoint that ends a sampling, as a call asks for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from engine import GenerationRequest
from server.backends.protocol import Backend
from server.dialects.sdapi.body import Generation, Img2Img
from server.dialects.sdapi.models import model_titled, title
from server.problems import bad_request, unsupported


@dataclass(frozen=True, kw_only=True)
class Refiner:
    """A checkpoint that takes over on the way."""

    model: str
    title: str
    """What lists call it."""
    share: float
    """The share of the timesteps that lie before, 0 … 1."""

    @property
    def notes(self) -> dict[str, str]:
        """What an infotext says of it."""
        return {"Refiner": self.title, "Refiner switch at": f"{self.share:g}"}


def refiner_of(body: Generation, first: GenerationRequest, backend: Backend) -> Refiner | None:
    """Return the refiner of a call whose first request is ``first``; None: there is none.

    A share of 0 asks for none where ComfyUI's picture is made; in AUTOMATIC1111 the refiner takes over at once then.
    """
    share = body.refiner_switch_at or 0
    if not 0 <= share <= 1:
        raise bad_request("refiner_switch_at", share, "a number from 0 to 1")
    if body.refiner_checkpoint in (None, "", "None", "none") or share == 1 or (first.a1111 is None and not share):
        return None
    if isinstance(body, Img2Img) and body.mask and first.a1111 is None:
        raise unsupported("refiner_checkpoint", body.refiner_checkpoint, "no value where there is a mask")
    info = model_titled(body.refiner_checkpoint, backend.models(), "refiner_checkpoint")
    own = info.default if first.model is None else info.name == first.model
    return None if own else Refiner(model=info.name, title=title(info), share=share)


def refined(request: GenerationRequest, refiner: Refiner | None) -> GenerationRequest:
    """Return a request for AUTOMATIC1111's picture with a refiner, or without one; others are returned as they are."""
    if request.a1111 is None:
        return request
    named = {"refiner": None} if refiner is None else {"refiner": refiner.model, "refiner_switch_at": refiner.share}
    return dataclasses.replace(request, a1111=dataclasses.replace(request.a1111, **named))
