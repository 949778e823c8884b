"""Finds what a workflow names that is not there, all of it at once: model files, and pictures that were not handed in.

Opens no picture and loads nothing; needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.errors import BadRequest
from engine.models import catalog
from engine.models.folders import Folders
from engine.pictures.inputs import Source, is_there, not_there
from engine.workflow.node import Node
from engine.workflow.picture_sizes import LOADED
from engine.workflow.weights import Weights, file_kind
from engine.workflow.workflow import Workflow


def missing_files(workflow: Workflow, folders: Sequence[Path], inputs: Sequence[Source]) -> list[BadRequest]:
    """Return an error, with the node at fault, for each file and picture that ``workflow`` names and that is not there.

    A name that several nodes share is reported once; a node whose parameters make it change nothing needs no file.
    """
    found: dict[tuple[object, object], BadRequest] = {}
    for node in workflow.nodes:
        if not (isinstance(node, Weights) and node.without_effect() is not None):
            for error in _missing(node, folders, inputs):
                found.setdefault((type(node) if isinstance(node, LOADED) else error.allowed, error.value), error)
    return list(found.values())


def _missing(node: Node, folders: Sequence[Path], inputs: Sequence[Source]) -> Iterator[BadRequest]:
    if isinstance(node, LOADED) and not is_there(node.name, inputs):
        error = not_there(node.name, inputs)
        yield BadRequest(error.field, error.value, error.allowed, node=node)
    for field, name in node.fields():
        kind = file_kind(node, field)
        try:
            if kind == "checkpoints":
                catalog.file_of(name, folders)
            elif kind is not None and name is not None:
                Folders(folders).find(kind, name, field=field)
        except BadRequest as error:
            yield type(error)(field, error.value, error.allowed, node=node)
