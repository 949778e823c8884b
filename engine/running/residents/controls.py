"""Loads ControlNets and T2I-adapters."""

from __future__ import annotations

import logging
import weakref
from pathlib import Path
from typing import Any

from diffusers.models.controlnets.controlnet import ControlNetModel

from engine.batching.calls import Calls
from engine.batching.controls import AdapterController, Controller, ControlNetController
from engine.checkpoint.controlnet import Base, ControlContents, inspect_control, load_control
from engine.checkpoint.structure import structures_of
from engine.errors import BrokenCheckpoint
from engine.networks.controlnet import ControlNet
from engine.networks.t2i_adapter import AdapterLayers, T2iAdapter
from engine.running.residents.checkpoints import hints_for
from engine.running.residents.expressions import checkpoint_of, values_of
from engine.running.residents.registry import resident
from engine.running.residents.tools import Tools
from engine.workflow import controls as nodes

_log = logging.getLogger(__name__)

_AVERAGED = ("_shuffle", "_shuffle_fp16")
"""How the names of ControlNets end that were trained on shuffled pictures; nothing in their files says so."""


def control_size(node: nodes.ControlFile | nodes.ControlFileForModel, tools: Tools) -> int:
    """Bytes that the network takes at work. Raises what ``inspect_control`` raises."""
    return inspect_control(Path(node.name)).parameters * tools.dtype.itemsize


@resident(nodes.ControlFile, size=control_size)
def load(node: nodes.ControlFile, tools: Tools) -> Controller:
    """Load the ControlNet or T2I-adapter in ``node.name``. Raises what ``load_control`` raises."""
    return _loaded(Path(node.name), tools, None)


def _bases(node: nodes.ControlFileForModel) -> tuple[nodes.ControlFile, ...]:
    """A file of no differences is the same network for every model."""
    try:
        difference = inspect_control(Path(node.name)).difference
    except BrokenCheckpoint:
        difference = False  # loading it says what is wrong
    return () if difference else (nodes.ControlFile(name=node.name),)


@resident(
    nodes.ControlFileForModel,
    size=lambda node, tools: 0 if _bases(node) else control_size(node, tools),
    bases=_bases,
)
def load_for_model(node: nodes.ControlFileForModel, tools: Tools, *plain: Controller) -> Controller:
    """Load what the file makes of the model's weights. Raises what ``load_control`` raises."""
    if plain:
        return plain[0]
    base = Base(values=values_of(node.model, "unet", tools), structure=structures_of(checkpoint_of(node.model))["unet"])
    return _loaded(Path(node.name), tools, base)


def _loaded(path: Path, tools: Tools, base: Base | None) -> Controller:
    control = load_control(path, device=tools.device, dtype=tools.dtype, base=base)
    _log.info("%s is loaded: %s", path.name, "a T2I-adapter" if control.adapter else "a ControlNet")
    module, facts = control.blueprint.module, _facts(path, control)
    if isinstance(module, AdapterLayers):
        return AdapterController(network=T2iAdapter(module, tools.operations()), **facts)
    assert isinstance(module, ControlNetModel)
    hints = hints_for(module, tools)
    network = ControlNet(module, tools.operations(by_rows=True, hints=hints))
    options: dict[str, Any] = {"launcher": tools.launcher(), "hints": hints, "name": "ControlNet"}
    calls = Calls(network, exact=tools.exact, sizes=tools.sizes, **options)
    controller = ControlNetController(network=network, calls=calls, averaged=path.stem.endswith(_AVERAGED), **facts)
    weakref.finalize(controller, hints.save_aside)
    return controller


def _facts(path: Path, control: ControlContents) -> dict[str, Any]:
    return {"name": path.name, "widths": control.blueprint.widths, "context": control.blueprint.context}
