"""A request on its way through the loop, and the resident checkpoint that it runs on. Knows no other job."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from engine.batching.denoiser import Denoiser
from engine.batching.trajectory import Trajectory
from engine.checkpoint import Checkpoint
from engine.device.transfer import Fetch
from engine.handle import Handle
from engine.pictures.decoder import Decoder, latents_of
from engine.running.finish import Finish
from engine.running.pool import Lease
from engine.text.conditioning import Conditioner

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Model:
    """A resident checkpoint and what works with it."""

    checkpoint: Checkpoint
    conditioner: Conditioner
    denoiser: Denoiser
    decoder: Decoder
    record: dict[str, Any]


@dataclass(eq=False)
class Job:
    """A request on its way through the loop."""

    handle: Handle
    lease: Lease[Model]
    previews: bool
    owner: Hashable = None
    marks: list[float] = field(default_factory=lambda: [time.perf_counter()])
    """When it was submitted, loaded, encoded, admitted, sampled and decoded."""
    trajectory: Trajectory | None = None
    finish: Finish | None = None
    preview: Fetch | None = None

    @property
    def model(self) -> Model:
        return self.lease.resident.result(timeout=0)

    def show(self) -> Image.Image | None:
        """The latest preview that is on the CPU. One that fails costs this job its previews, and nobody anything."""
        assert self.trajectory is not None
        if not self.previews or self.trajectory.denoised is None:
            return None
        try:
            before = self.preview
            self.preview = Fetch(self.model.decoder.preview(latents_of(self.trajectory.denoised[:1])))
            shown = self.preview if self.preview.ready() else before
            return Image.fromarray(shown.value().numpy()) if shown is not None and shown.ready() else None
        except Exception:
            _log.exception("no previews for this request")
            self.previews = False
            return None
