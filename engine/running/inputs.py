"""The pictures that a workflow names, read from where a caller says that they are. Runs on the caller's thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.checkpoint.upscaler import inspect_upscaler
from engine.errors import BadRequest, BrokenCheckpoint
from engine.models.folders import Folders
from engine.pictures.inputs import InputPicture, Source, read_input, sources_of
from engine.workflow.picture_sizes import LOADED
from engine.workflow.sizes import Known, PictureSize
from engine.workflow.upscaling import UpscalerFile
from engine.workflow.workflow import Workflow


def inputs_of(workflow: Workflow, handed_in: Source | Sequence[Source]) -> dict[str, InputPicture]:
    """Return the pictures that ``workflow`` names, each decoded once.

    Raises ``BadRequest``, with the node at fault, for one that was not handed in, or cannot be read.
    """
    sources = sources_of(handed_in)
    found: dict[str, InputPicture] = {}
    for node in workflow.nodes:
        if isinstance(node, LOADED) and node.name not in found:
            try:
                found[node.name] = read_input(node.name, sources)
            except BadRequest as error:
                raise BadRequest(error.field, error.value, error.allowed, node=node) from None
    return found


def known_of(workflow: Workflow, sizes: Mapping[str, PictureSize], folders: Folders) -> Known:
    """Return what is known of the files that ``workflow`` names, for ``needs_of``: its pictures' ``sizes`` by name.

    Raises ``BadRequest``, with the node at fault, for an upscaler that is not there, and ``BrokenCheckpoint``
    for a file that is none.
    """
    upscalers = [node for node in workflow.nodes if isinstance(node, UpscalerFile)]
    return Known(
        pictures=tuple(sizes.items()),
        factors=tuple({node.name: _factor(node, folders) for node in upscalers}.items()),
    )


def _factor(node: UpscalerFile, folders: Folders) -> int:
    try:
        return inspect_upscaler(folders.find("upscale_models", node.name, node=node)).factor
    except BrokenCheckpoint as error:
        raise error.named_by("name", node) from None
