"""Accepts prompts, as far as their outputs can be made, and says all that is wrong with the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from fastapi import Request

from engine import BadRequest
from engine.errors import UnknownFile
from engine.formats.comfyui.places import place
from engine.formats.comfyui.reader import unknown_class
from engine.formats.comfyui.table import ROWS
from engine.models.folders import KINDS
from server.dialects.comfyui import uploads
from server.dialects.comfyui.errors import PromptRefused, refused
from server.dialects.comfyui.graph import Course, unknown_nodes
from server.dialects.comfyui.history import DIALECT
from server.dialects.comfyui.object_info import offer_of
from server.dialects.comfyui.prompt import Prompt
from server.job import Job
from server.problems import Problem
from server.store import Search
from server.web.services import Services

NodeErrors = dict[str, Any]
"""Node id → what is wrong with it, as ComfyUI answers it."""


async def accept(services: Services, http: Request, prompt: Prompt, *, previews: bool) -> tuple[Job, NodeErrors]:
    """Accept those outputs of ``prompt`` that can be made, and return what is wrong with the others.

    As in ComfyUI, a prompt is refused where none of its outputs can be made, or a class is not known. Raises
    ``Problem``.
    """
    client = services.client_of(http)
    if unknown := [unknown_class(id, prompt.nodes[id]["class_type"]) for id in unknown_nodes(prompt.nodes)]:
        pictures, missing = await uploads.of_course(services, client, Course(prompt.nodes, prompt.outputs))
        await services.inputs.forget_call(pictures.values())
        mistakes = [*unknown, *_mistakes(services, prompt), *missing]
        raise refused(prompt.nodes, BadRequest.together(mistakes), await offer_of(services, client))
    wrong: NodeErrors = {}
    while True:
        try:
            return await _accept(services, http, prompt, previews=previews), wrong
        except (BadRequest, Problem) as error:
            if isinstance(error, BadRequest):
                error = BadRequest.together([*error.all, *_mistakes(services, prompt)])
            problem = refused(prompt.nodes, error, await offer_of(services, client))
            left = _without(prompt, problem)
            if left is None:
                raise problem from None
            assert isinstance(problem, PromptRefused)
            wrong |= problem.node_errors
            prompt = left


def _without(prompt: Prompt, problem: Problem) -> Prompt | None:
    """Return the prompt without the outputs that depend on nodes at fault; None where that leaves none, or all."""
    faults = set(problem.node_errors) if isinstance(problem, PromptRefused) else set()
    left = [each for each in prompt.outputs if faults.isdisjoint(Course(prompt.nodes, (each,)).order)]
    if not left or len(left) == len(prompt.outputs):
        return None
    return dataclasses.replace(prompt, outputs=tuple(left))


def _mistakes(services: Services, prompt: Prompt) -> list[BadRequest]:
    """Return what is wrong with the nodes whose classes are known, as far as the others let it be seen."""
    if not prompt.outputs:
        return []
    try:
        prompt.workflow()
    except BadRequest as error:
        unknown = {place(id, prompt.nodes[id]["class_type"]) for id in unknown_nodes(prompt.nodes)}
        read = [each for each in error.all if each.field not in unknown]
        return [*read, *_missing_files(services, prompt)]
    return list(_missing_files(services, prompt))


def _missing_files(services: Services, prompt: Prompt) -> Iterator[BadRequest]:
    """The mistakes of nodes that name files which the models folders do not have."""
    for id in Course(prompt.nodes, prompt.outputs).order:
        node = prompt.nodes[id]
        row = ROWS.get(node["class_type"])
        for name, known in row.inputs.items() if row is not None else ():
            value = node.get("inputs", {}).get(name)
            kind = next((kind for kind in KINDS if kind == known.files), None)
            try:
                if kind is not None and isinstance(value, str):
                    services.backend.find(kind, value)
            except UnknownFile as error:
                yield BadRequest(place(id, node["class_type"], name), value, error.allowed)


async def _accept(services: Services, http: Request, prompt: Prompt, *, previews: bool) -> Job:
    waiting: list[Job] = []
    if prompt.number is not None:
        first = Search(states={"queued"}, dialects=DIALECT, limit=1, newest_first=False)
        waiting = (await services.jobs.find(first)).jobs
    client = services.client_of(http)
    pictures, missing = await uploads.of_course(services, client, Course(prompt.nodes, prompt.outputs))
    if missing:
        await services.inputs.forget_call(pictures.values())
        raise BadRequest.together(missing)
    new = prompt.new_job(
        client=client,
        inputs=pictures,
        first_waiting=waiting[0].sequence if waiting else None,
        previews=previews,
        key=http.headers.get("idempotency-key"),
    )
    return await services.jobs.accept(new)
