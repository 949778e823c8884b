"""Turns whatever stopped a request into the error that its caller sees. Knows no request."""

from __future__ import annotations

import logging

from engine.device.memory import out_of_memory
from engine.errors import EngineError, GenerationFailed, OutOfMemory, text_of

_log = logging.getLogger(__name__)


def as_ours(error: BaseException) -> EngineError:
    """Return ``error`` as the caller sees it: ours as it is, anything else, which is logged, as this request's failure.

    Without its traceback, whose frames would keep the device's tensors for as long as the error is kept.
    """
    if isinstance(error, EngineError):
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    _log.error("a request failed", exc_info=error)
    error.with_traceback(None)
    kind = OutOfMemory if out_of_memory(error) else GenerationFailed
    return kind(text_of(error))
