"""Finds the Triton kernels, where they can run. Knows no operation and no network."""

from __future__ import annotations

import importlib
import logging
from types import ModuleType

import torch

_log = logging.getLogger(__name__)


def fused_kernels(device: torch.device) -> ModuleType | None:
    """The module of Triton kernels, or None and a warning where they do not run on ``device``."""
    try:
        kernels = importlib.import_module("engine.networks.kernels")
        x = torch.zeros(1, 2, 32, device=device)
        kernels.add_layer_norm(x, x, x[0, 0], x[0, 0], 1e-5)
    except Exception as error:  # no Triton, no compiler for its launchers, no such architecture
        _log.warning("no fused kernels: %s", error)
        return None
    return kernels
