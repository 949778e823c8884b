"""One workflow of a job: what a backend is given at a time, and what it costs. Knows no job and no database."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from engine import BadRequest, BrokenCheckpoint, GenerationRequest, Workflow
from engine.parameters import from_json, restored, to_json
from engine.workflow.from_request import field_of
from engine.workflow.needs import Needs, checkpoints_of, needs_of
from engine.workflow.node import in_order
from engine.workflow.picture_sizes import LOADED
from engine.workflow.sampling import Sample
from engine.workflow.sizes import Known
from server.inputs.input import Input

LARGEST_GRAPH = 128 * 2**10
"""The most bytes of a graph as JSON: it is kept with its job."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A workflow, written as a flat request, as a ComfyUI graph in API form, or as both. At least one is there."""

    request: GenerationRequest | None = None
    """The flat request, for dialects that speak of parameters; None where a graph says more than a request can."""
    graph: Mapping[str, Any] | None = None
    """The graph that was posted, which is what is carried out; None where a request says all there is to say."""
    model: str = ""
    """The name of its first checkpoint."""
    inputs: Mapping[str, Input] = field(default_factory=dict)
    """The pictures that were handed in for it, by the names that the workflow has for them."""

    @staticmethod
    def of(
        wanted: GenerationRequest | Workflow,
        name_of: Callable[[str], str] = str,
        inputs: Mapping[str, Input] | None = None,
    ) -> Task:
        """Return the task of a request, or of a workflow: with a request too, where a flat one says the same.

        ``name_of`` gives the server's name for what a graph calls a checkpoint. Of ``inputs`` the task has those that
        it names.
        """
        names = loaded_names(wanted) if inputs else ()
        named = {name: inputs[name] for name in names if inputs and name in inputs}
        if isinstance(wanted, GenerationRequest):
            return Task(request=wanted, model=wanted.model or "", inputs=named)
        from engine.formats.comfyui import request_of

        model = next((name_of(name) for name in checkpoints_of(wanted) if name is not None), "")
        try:
            request = dataclasses.replace(request_of(wanted), model=model)
        except BadRequest:
            request = None
        return Task(request=request, graph=wanted.to_comfyui(), model=model, inputs=named)

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> Task:
        """Return the task that ``to_json`` wrote.

        A request that an older version accepted and this one refuses can be read, but not carried out.
        """
        fields, request = kept.get("request"), None
        if fields is not None:
            try:
                request = from_json(GenerationRequest, fields)
            except BadRequest:
                request = restored(GenerationRequest, fields)
        model = request.model if request is not None else None
        inputs = {name: Input.from_json(each) for name, each in kept.get("inputs", {}).items()}
        return Task(request=request, graph=kept.get("graph"), model=kept.get("model", model or ""), inputs=inputs)

    def to_json(self) -> dict[str, Any]:
        """Return the task as JSON, seeds of requests as text."""
        kept: dict[str, Any] = {} if self.request is None else {"request": to_json(self.request)}
        if self.graph is not None:
            kept |= {"graph": self.graph, "model": self.model}
        if self.inputs:
            kept["inputs"] = {name: each.to_json() for name, each in self.inputs.items()}
        return kept

    @cached_property
    def workflow(self) -> Workflow:
        """The workflow. Raises ``BadRequest`` for one that an older version accepted and this one refuses."""
        if self.graph is not None:
            return Workflow.from_comfyui(self.graph)
        assert self.request is not None
        return self.request.workflow()

    @cached_property
    def needs(self) -> Needs:
        """What the workflow needs."""
        return needs_of(self.workflow, known_pictures(self.inputs))

    def located(self, error: BrokenCheckpoint) -> BrokenCheckpoint:
        """Return ``error``, about a file that the workflow names, with the request's field that it is made from."""
        if self.graph is not None or self.request is None or error.node is None:
            return error
        mistake = BadRequest(str(error.field), None, "", node=error.node)
        return error.named_by(field_of(self.request, mistake), error.node)

    @property
    def pictures(self) -> int:
        """The most pictures that it has in progress at a time."""
        if self.request is not None:
            return self.request.batch_size
        return max(size.pictures for size in self.needs.sizes.values())

    @property
    def steps(self) -> int:
        """The sampling steps of all its samplings."""
        return self.request.steps if self.request is not None else sum(self.needs.steps.values())

    @property
    def work(self) -> float:
        """The cost in sampling steps of a 512 × 512 picture; a decode counts as one."""
        request = self.request
        if request is None or request.regions or not request.plain:
            return self.needs.work
        pixels = request.batch_size * request.width * request.height
        return (request.steps * request.denoise + 1) * pixels / 512**2

    def seed(self, output: str | None = None) -> int:
        """The seed of the noise that the pictures of ``output``, or of the first output, come from.

        0 where no noise was drawn.
        """
        if self.request is not None:
            return self.request.seed or 0
        outputs = self.workflow.outputs
        end = next(iter(outputs.values())) if output is None else outputs[output]
        samples = (node for node in reversed(in_order(end)) if isinstance(node, Sample))
        return next((getattr(sample.noise, "seed", 0) for sample in samples), 0)


def known_pictures(inputs: Mapping[str, Input]) -> Known:
    """Return what is known of pictures, by the names that a workflow has for them."""
    return Known(pictures=tuple((name, each.size) for name, each in inputs.items()))


def loaded_names(wanted: GenerationRequest | Workflow) -> tuple[str, ...]:
    """Return the names of the pictures that a request or a workflow loads, each once."""
    if isinstance(wanted, GenerationRequest):
        return wanted.pictures
    return tuple(dict.fromkeys(node.name for node in wanted.nodes if isinstance(node, LOADED)))
