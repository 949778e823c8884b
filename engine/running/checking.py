"""What can be checked of a workflow without its checkpoints: sizes, prompts' syntax, schedules.

Needs torch, but none of the libraries that load checkpoints.
"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Any

import torch

from engine.errors import BadRequest, BrokenCheckpoint
from engine.request import GenerationRequest
from engine.running.functions import Bench, function_of
from engine.running.observer import Unobserved
from engine.running.readings import parametrization_of
from engine.sampling.schedules import stands_still
from engine.text.prompt import chunks
from engine.workflow.from_request import field_of
from engine.workflow.needs import Needs, needs_of
from engine.workflow.node import Node
from engine.workflow.patches import Reading
from engine.workflow.sampling import Sample, Sigmas
from engine.workflow.sizes import NOTHING_KNOWN, Known
from engine.workflow.text import EncodeA1111Text, EncodeText
from engine.workflow.weights import FindFile, file_kind
from engine.workflow.workflow import Workflow


@functools.lru_cache(maxsize=256)  # a job is checked when it is accepted, and once more when it is submitted
def check(workflow: Workflow, known: Known = NOTHING_KNOWN) -> Needs:
    """Return what ``workflow`` needs, with what is ``known`` of its files.

    Raises ``BadRequest``, with the node at fault, for what cannot be carried out.
    """
    bench = Bench(torch.device("cpu"), {}, {}, Unobserved())
    for node in workflow.nodes:
        try:
            _check_node(node, bench)
        except BadRequest as error:
            raise BadRequest(error.field, error.value, error.allowed, node=error.node or node) from None
    return needs_of(workflow, known)


def _check_node(node: Node, bench: Bench) -> None:
    if isinstance(node, EncodeText):
        chunks(node.text, "text")
    elif isinstance(node, Reading):
        parametrization_of(node)
    elif isinstance(node, Sigmas):
        bench.values[node] = function_of(node)(node, bench)
    elif isinstance(node, Sample) and len(bench[node.sigmas]) and stands_still(node.sampler.name, bench[node.sigmas]):
        allowed = f"levels that differ from one to the next: {node.sampler.name} divides by their differences"
        raise BadRequest("sigmas", _shown(bench[node.sigmas]), allowed)


def in_callers_words(error: BadRequest, workflow: Workflow, request: GenerationRequest | None) -> BadRequest:
    """Return ``error``, about a node of ``workflow``: with the field of the request that it is made from, or the place
    in a graph."""
    if request is None:
        return workflow.located(error)
    return type(error)(field_of(request, error), error.value, error.allowed)


def broken_in_callers_words(
    error: BrokenCheckpoint, workflow: Workflow, request: GenerationRequest | None, path_of: FindFile
) -> BrokenCheckpoint:
    """Return ``error``, with what names its file: the field of the request, or the place in a graph.

    ``path_of`` gives the path of a file's name; where no node names the file, a prompt may name it as an embedding.
    """
    found = (error.node, str(error.field)) if error.node is not None else _naming(error, workflow, path_of)
    if found is None:
        return error
    node, field = found
    placed = in_callers_words(BadRequest(field, error.path.name, "", node=node), workflow, request)
    return error.named_by(placed.field, node)


def _naming(error: BrokenCheckpoint, workflow: Workflow, path_of: FindFile) -> tuple[Node, str] | None:
    """The first node that names the file that ``error`` is about, and its field."""
    for node in workflow.nodes:
        for field, value in node.fields():
            kind = file_kind(node, field)
            if kind is not None:
                with contextlib.suppress(BadRequest):  # a file that the workflow does not need
                    if Path(path_of(value, kind)).resolve() == error.path.resolve():
                        return node, field
    prompts = (node for node in workflow.nodes if isinstance(node, EncodeText | EncodeA1111Text))
    return next(((node, "text") for node in prompts if error.path.stem.lower() in node.text.lower()), None)


def _shown(sigmas: Any) -> str:
    return ", ".join(f"{float(sigma):.3g}" for sigma in sigmas[:8])
