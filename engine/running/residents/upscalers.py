"""Loads upscalers."""

from __future__ import annotations

from engine.checkpoint.upscaler import inspect_upscaler, load_upscaler
from engine.networks.upscaler import Upscaler
from engine.running.residents.registry import resident
from engine.running.residents.tools import Tools
from engine.workflow.upscaling import UpscalerFile


@resident(UpscalerFile, size=lambda node, _: inspect_upscaler(node.name).bytes)
def load(node: UpscalerFile, tools: Tools) -> Upscaler:
    """Load the upscaler in ``node.name``. Raises what ``load_upscaler`` raises."""
    return load_upscaler(node.name, device=tools.device)
