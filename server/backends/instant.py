"""A backend that makes plain pictures at once: for trying out clients, for tests, for measuring the server itself.

Imports no torch. What a picture shows depends on its request alone, as with a real engine.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from PIL import Image

from engine import BadRequest, GenerationFailed, GenerationRequest, UnknownCheckpoint, Workflow
from engine.errors import UnknownFile
from engine.formats.comfyui import request_of
from engine.handle import GenerationResult, Progress, Timings
from engine.tensors.kinds import FileKind
from engine.workflow.from_request import field_of
from engine.workflow.needs import checkpoints_of, needs_of
from engine.workflow.node import Node, in_order
from engine.workflow.pictures import Output
from engine.workflow.sizes import NOTHING_KNOWN, Known
from engine.workflow.text import EncodedText
from engine.workflow.weights import file_kind
from server.backends.checkpoints import FileInfo, ModelInfo
from server.backends.protocol import NO_INPUTS, Listener

_SIZE = 1_000_000

SHIPPED: Mapping[FileKind, Sequence[str]] = MappingProxyType(
    {"loras": ("starter-ink.safetensors",), "controlnet": ("starter-edges.safetensors",)}
)
"""The files that come with the starter, beside its checkpoint."""


class InstantBackend:
    """Pictures of one colour. The prompt ``fail`` fails; one with more than 100 brackets at a time is refused."""

    def __init__(
        self,
        *,
        step_seconds: float = 0.0,
        load_seconds: float = 0.0,
        capacity: int = 16,
        names: Sequence[str] = ("instant", "other"),
        more_files: Mapping[FileKind, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        self.capacity = capacity
        self.step_seconds = step_seconds
        """Seconds that each step takes; may be changed at any time."""
        self.load_seconds = load_seconds
        """Seconds that loading a model takes; may be changed at any time."""
        self.names = tuple(names)
        """Its models, the default first."""
        self.more_files = more_files
        """The names of further files that graphs may name, by kind. Their contents would not matter."""
        self.started: list[Workflow] = []
        """The latest thousand workflows that were started, in that order."""
        self._ready = False
        self._resident: set[str] = set()
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._in_flight = 0
        self._steps = 0

    async def start(self) -> None:
        await self.load(self.names[0])
        self._ready = True

    async def close(self) -> None:
        self._ready = False
        for task in list(self._loads.values()):
            task.cancel()

    @property
    def ready(self) -> bool:
        return self._ready

    @property
    def requests(self) -> list[GenerationRequest]:
        """The latest workflows that were started, as the requests that they come from."""
        return [request_of(workflow) for workflow in self.started]

    def check(self, wanted: GenerationRequest | Workflow, known: Known = NOTHING_KNOWN) -> GenerationRequest | Workflow:
        if isinstance(wanted, GenerationRequest):
            wanted = dataclasses.replace(wanted, model=self._find(wanted.model or self.names[0]))
            if "(" * 101 in wanted.prompt:
                raise BadRequest("prompt", wanted.prompt, "at most 100 nested brackets")
            if not wanted.plain:
                self._check_sizes(wanted.with_seed(), known)
            return wanted
        mistakes = [wanted.located(mistake) for node in wanted.nodes for mistake in self._mistakes(node)]
        if mistakes:
            raise BadRequest.together(mistakes)
        return wanted

    def _mistakes(self, node: Node) -> Iterator[BadRequest]:
        if isinstance(node, EncodedText) and "(" * 101 in node.text:
            yield BadRequest("text", node.text, "at most 100 nested brackets", node=node)
        for field, name in node.fields():
            kind = file_kind(node, field)
            try:
                if kind is not None:
                    self.find(kind, name)
            except UnknownFile as error:
                yield type(error)(field, name, error.allowed, node=node)

    def find(self, kind: FileKind, name: str | None) -> None:
        if kind == "checkpoints":
            self._find(name or self.names[0])
        elif name is not None and name not in {
            each for file in self.more_files.get(kind, ()) for each in (file, file.rpartition(".")[0])
        }:
            raise UnknownFile("name", name, f"one of {', '.join(self.more_files.get(kind, ())) or 'none'}")

    @staticmethod
    def _check_sizes(request: GenerationRequest, known: Known) -> None:
        """Raise ``BadRequest``, with the request's own field, for sizes that do not fit, and for pictures."""
        try:
            needs_of(request.workflow(), known)
        except BadRequest as error:
            raise type(error)(field_of(request, error), error.value, error.allowed) from None

    def name_of(self, model: str) -> str:
        return self._find(model)

    async def run(
        self,
        workflow: Workflow,
        listen: Listener,
        client: str | None = None,
        inputs: Mapping[str, bytes] = NO_INPUTS,
    ) -> GenerationResult:
        clock = asyncio.get_running_loop().time
        names = [self._find(name or self.names[0]) for name in checkpoints_of(workflow)]
        start = clock()
        for name in names:
            if name not in self._resident:
                listen(Progress(stage="loading"))
                await self.load(name)
        loaded = clock()
        self.started[:] = [*self.started[-999:], workflow]
        self._in_flight += 1
        try:
            known = await asyncio.to_thread(_known, inputs) if inputs else NOTHING_KNOWN
            seen = b"".join(hashlib.sha256(inputs[name]).digest() for name in sorted(inputs))
            outputs = {id: _pictures(workflow, output, known, seen) for id, output in workflow.outputs.items()}

            def made(outputs: dict[str, list[Image.Image]]) -> GenerationResult:
                sampled = clock()
                spent = {"load": loaded - start, "sample": sampled - loaded, "total": sampled - start}
                return _result(workflow, outputs, names, Timings(**spent, encode=0.0, wait=0.0, decode=0.0))

            await self._sample(workflow, known, listen, outputs, made)
            if any(isinstance(node, EncodedText) and node.text == "fail" for node in workflow.nodes):
                raise GenerationFailed("the prompt asked for a failure")
        finally:
            self._in_flight -= 1
        return made(outputs)

    async def _sample(
        self,
        workflow: Workflow,
        known: Known,
        listen: Listener,
        outputs: Mapping[str, list[Image.Image]],
        made: Callable[[dict[str, list[Image.Image]]], GenerationResult],
    ) -> None:
        """Report every sampling's steps as an engine does, each in its time, and pictures that come before others."""
        image = next(iter(outputs.values()))[0]
        samplings = needs_of(workflow, known).steps
        total, done, steps = sum(samplings.values()) + 1, 0, 0
        node: str | None = next(iter(workflow.outputs))
        preview = Image.new("RGB", (image.width // 8, image.height // 8), image.getpixel((0, 0)))
        after = list(samplings)
        waiting = {id: in_order(output) for id, output in workflow.outputs.items()} if len(samplings) > 1 else {}
        for sample, steps in samplings.items():
            node = workflow.ids.get(sample)
            listen(Progress(stage="waiting", steps=steps, node=node))
            for step in range(steps + 1):
                if step:
                    await asyncio.sleep(self.step_seconds)
                    self._steps += 1
                share, shown = (done + step) / total, preview if step else None
                listen(Progress(stage="sampling", step=step, steps=steps, done=share, preview=shown, node=node))
            done += steps
            after.remove(sample)
            there = [id for id, nodes in waiting.items() if not any(each in nodes for each in after)]
            if after and there:
                part = made({id: outputs[id] for id in there})
                listen(Progress(stage="waiting", done=done / total, node=there[0], made=part))
                waiting = {id: nodes for id, nodes in waiting.items() if id not in there}
        listen(Progress(stage="decoding", step=steps, steps=steps, done=done / total, node=node))

    def models(self) -> list[ModelInfo]:
        return [self._info(name) for name in self.names]

    def files(self, kind: FileKind) -> list[FileInfo]:
        models = [model.file for model in self.models()] if kind == "checkpoints" else self.more_files.get(kind, ())
        return [FileInfo(name=name, size=_SIZE) for name in models]

    def metadata(self, kind: FileKind, name: str) -> Mapping[str, str]:
        if name not in (file.name for file in self.files(kind)):
            raise UnknownFile("filename", name, f"a file of the folder {kind}")
        return {}

    def refresh(self) -> None:
        """Do nothing: its lists are always up to date."""

    async def load(self, name: str) -> None:
        name = self._find(name)
        if name in self._resident:
            return
        task = self._loads.get(name)
        if task is None:
            task = self._loads[name] = asyncio.create_task(self._load(name))
        await asyncio.shield(task)

    async def unload(self, name: str) -> bool:
        name = self._find(name)
        was = name in self._resident
        self._resident.discard(name)
        return was

    def status(self) -> dict[str, Any]:
        return {
            "device": "none",
            "dtype": "none",
            "batching": "exact",
            "memory_total": 0,
            "memory_free": 0,
            "in_flight": self._in_flight,
            "resident": sorted(self._resident),
            "ticks": self._steps,
            "evaluations": self._steps,
        }

    def _find(self, name: str) -> str:
        for known in self.names:
            if name in (known, known + ".safetensors"):
                return known
        raise UnknownCheckpoint("model", name, f"one of {', '.join(self.names)}")

    def _info(self, name: str) -> ModelInfo:
        digest = _digest(name)
        return ModelInfo(
            name=name,
            file=f"{name}.safetensors",
            path=f"/nowhere/{name}.safetensors",
            size=_SIZE,
            short_hash=digest[:10],
            sha256=digest,
            resident=name in self._resident,
            loading=name in self._loads,
            default=name == self.names[0],
        )

    async def _load(self, name: str) -> None:
        try:
            if self.load_seconds:
                await asyncio.sleep(self.load_seconds)
            self._resident.add(name)
        finally:
            del self._loads[name]


@functools.cache
def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _result(
    workflow: Workflow, outputs: dict[str, list[Image.Image]], names: Sequence[str], timings: Timings
) -> GenerationResult:
    record = {"device": "none", "backend": "instant"} | ({"checkpoint": f"{names[0]}.safetensors"} if names else {})
    latents = cast(Any, None)  # a tensor needs torch, and the server never looks at it
    return GenerationResult(
        outputs=outputs, latents=latents, request=None, workflow=workflow, timings=timings, record=record
    )


def _known(inputs: Mapping[str, bytes]) -> Known:
    from engine.pictures.inputs import read_input  # which imports numpy

    return Known(pictures=tuple((name, read_input(name, [inputs]).size) for name in inputs))


def _pictures(workflow: Workflow, output: Output, known: Known, seen: bytes) -> list[Image.Image]:
    """Return pictures of one colour each, by what they are made from and their place in the batch."""
    size = needs_of(workflow, known).pictures(output)
    made_from = output.pictures.digest + seen
    colours = [hashlib.sha256(made_from + bytes([index % 256])).digest() for index in range(size.pictures)]
    return [Image.new("RGB", size.pixels, (colour[0], colour[1], colour[2])) for colour in colours]
