"""What ``Engine.submit`` returns: one request's progress and result, for any number of threads.

Knows nothing of how the request is carried out.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from engine.errors import Cancelled
from engine.request import GenerationRequest

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from engine.workflow.workflow import Place, Workflow


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a request stands."""

    stage: Literal["loading", "waiting", "sampling", "decoding"]
    """``loading`` its checkpoint (only where it is not resident), ``waiting`` for a slot, ``sampling``, ``decoding``
    the latents."""
    step: int = 0
    """Steps done of the sampling at hand."""
    steps: int | None = None
    """Its steps in all; None where the sampler decides as it goes (dpm_adaptive), or not known yet."""
    done: float = 0.0
    """The share of the workflow's sampling steps that are done, 0 … 1; the last decode counts as one more step."""
    node: str | None = None
    """The id of the workflow's node that is being carried out, where it has one."""
    cached: tuple[str, ...] = ()
    """The ids of nodes that had nothing to do, as far as is known: their weights were resident, or their prompts had
    been encoded before."""
    preview: Image.Image | None = None
    """A rough small picture of what is denoised so far, where previews were asked for; only the latest is kept."""
    made: GenerationResult | None = None
    """The part of the result that is there since the progress before: the pictures of one output node, or of several,
    while the nodes of others are still to be carried out. The whole result has them too."""


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Seconds of wall-clock time that a request spent."""

    load: float
    """Until its checkpoint was there."""
    encode: float
    """Encoding its prompts."""
    wait: float
    """Waiting for a place among those in flight."""
    sample: float
    """From its place until the last step, the other requests' shares of the device included."""
    decode: float
    """From the last step until the pixels are on the CPU."""
    total: float


@dataclass(frozen=True, kw_only=True)
class GenerationResult:
    """What came of a workflow."""

    outputs: dict[str, list[Image.Image]]
    """The pictures of each output node, by its id: RGB, or RGBA where a workflow gives them transparency."""
    latents: Tensor
    """What the first output's pictures were decoded from: float32 (B, 4, height/8, width/8) on the CPU, as the VAE
    takes them (divided by 0.18215); (0, 4, 0, 0) where nothing was decoded."""
    request: GenerationRequest | None
    """The request, its seed and the model's name filled in; None where a workflow was submitted."""
    workflow: Workflow
    """What was carried out."""
    timings: Timings
    record: dict[str, Any]
    """What the bytes depend on beside the workflow: versions, device, dtype, batching, and the checkpoint's file."""
    kept: dict[Place, Any] = field(default_factory=dict)
    """What was asked to be kept, by node id and output, as tensors on the CPU: latents (B, 4, h, w), a list of them and
    their noise mask (b, H, W) where they have one; pictures (B, h, w, 3 or 4) and masks (B, h, w), 0 … 1; the tokens
    of a conditioning, or a list of those of its prompts; sigmas."""

    @property
    def images(self) -> list[Image.Image]:
        """All pictures, output after output. Of a request: one for each of ``batch_size``."""
        return [image for images in self.outputs.values() for image in images]

    @property
    def seed(self) -> int:
        """The seed of the request."""
        assert self.request is not None
        assert self.request.seed is not None
        return self.request.seed


_log = logging.getLogger(__name__)

Listener = Callable[[Progress | None], None]
"""A function that is called with each progress, and with None once the request is done, on the thread that brings
the news, mostly the device's: it must return at once. What it raises is logged."""


class Handle:
    """A submitted request. Thread-safe."""

    def __init__(
        self,
        request: GenerationRequest | None,
        on_cancel: Callable[[Handle], None],
        listen: Listener | None = None,
    ) -> None:
        self.request = request
        """The request as accepted: its seed is fixed. None where a workflow was submitted."""
        self._on_cancel = on_cancel
        self._listen = listen
        self._changed = threading.Condition()
        self._events: list[Progress] = []
        self._shown: int | None = None  # which event holds the preview
        self._result: GenerationResult | None = None
        self._error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether ``result`` would return, or raise, at once."""
        return self._result is not None or self._error is not None

    def result(self, timeout: float | None = None) -> GenerationResult:
        """Wait for the result. Raises ``TimeoutError`` after ``timeout`` seconds, ``Cancelled``, or what went wrong."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.done, timeout):
                raise TimeoutError(f"no result within {timeout} s")
        if self._error is not None:
            raise self._error.with_traceback(None)  # else each call would add its frames
        assert self._result is not None
        return self._result

    def cancel(self) -> bool:
        """Give the request up: ``result`` raises ``Cancelled`` from now on. False if it was done already."""
        cancelled = self.fail(Cancelled("the request was cancelled"))
        if cancelled:
            self._on_cancel(self)
        return cancelled

    def events(self) -> Iterator[Progress]:
        """Every progress from the start, as it comes; ends when the request is done, in whatever way."""
        seen = 0
        while True:
            with self._changed:
                while not self.done and len(self._events) == seen:
                    self._changed.wait()
                fresh = self._events[seen:]
            if not fresh:
                return
            seen += len(fresh)
            yield from fresh

    def report(self, progress: Progress) -> None:
        """For the engine: add to the events, unless the request is done. Of previews only the latest is kept."""
        with self._changed:
            if self.done:
                return
            if progress.preview is not None:
                if self._shown is not None:
                    self._events[self._shown] = dataclasses.replace(self._events[self._shown], preview=None)
                self._shown = len(self._events)
            self._events.append(progress)
            self._changed.notify_all()
        self._tell(progress)

    def succeed(self, result: GenerationResult) -> None:
        """For the engine: settle with a result, unless it is settled already."""
        with self._changed:
            if self.done:
                return
            self._result = result
            self._changed.notify_all()
        self._tell(None)

    def fail(self, error: BaseException) -> bool:
        """For the engine: settle with an error. False if it is settled already."""
        with self._changed:
            if self.done:
                return False
            self._error = error
            self._changed.notify_all()
        self._tell(None)
        return True

    def _tell(self, news: Progress | None) -> None:
        if self._listen is not None:
            try:
                self._listen(news)
            except Exception:
                _log.exception("a listener failed")
