"""What an engine reports of its own work to a program that measures it: when a stage begins and when it ends.

Knows no requests and no pictures. An engine without an observer uses ``Unobserved``, which does nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

Stage = Literal["encode", "step", "decode"]
"""``encode``: a prompt or picture · ``step``: a step of the pictures that share a UNet call · ``decode``: a picture."""

_NOTHING = nullcontext()


class Observer(Protocol):
    """Is entered around each stage of an engine's work, as ``Engine(config, observer=…)``."""

    def stage(self, name: Stage) -> AbstractContextManager[None]:
        """Return what surrounds one run of the stage ``name``. The engine's thread calls this, enters and exits it.

        On a GPU the work is only launched inside the block: record events on the current stream to time it. Whatever
        this raises fails the request that is being worked on.
        """


class Unobserved:
    """The observer of an engine that nothing measures."""

    def stage(self, name: Stage) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return _NOTHING
