"""The backend that makes plain pictures at once: to try out clients, to test and to measure the server itself.

It imports no torch. A picture depends on its request alone, as with a real engine.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from PIL import Image

from engine import BadRequest, GenerationFailed, GenerationRequest, UnknownCheckpoint
from engine.handle import GenerationResult, Progress, Timings
from engine.workflow.from_request import PICTURES
from server.backends.checkpoints import ModelInfo
from server.backends.protocol import Listener
from server.job import parameters

_SIZE = 1_000_000


class InstantBackend:
    """A ``Backend`` whose pictures have one colour.

    The prompt ``fail`` fails, and one with more than 100 nested brackets is refused.
    """

    def __init__(
        self,
        *,
        step_seconds: float = 0.0,
        load_seconds: float = 0.0,
        capacity: int = 16,
        names: Sequence[str] = ("instant", "other"),
    ) -> None:
        self.capacity = capacity
        self.step_seconds = step_seconds
        """The seconds that a step takes; may be changed at any time."""
        self.load_seconds = load_seconds
        """The seconds that loading a model takes; may be changed at any time."""
        self.names = tuple(names)
        """The names of its models, the default first."""
        self.started: list[GenerationRequest] = []
        """The latest thousand requests in the order in which they started."""
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

    def check(self, request: GenerationRequest) -> GenerationRequest:
        name = self._find(request.model if request.model is not None else self.names[0])
        if "(" * 101 in request.prompt:
            raise BadRequest("prompt", request.prompt, "at most 100 nested brackets")
        return dataclasses.replace(request, model=name)

    async def run(self, request: GenerationRequest, listen: Listener, client: str | None = None) -> GenerationResult:
        assert request.model is not None
        clock = asyncio.get_running_loop().time
        start = clock()
        if request.model not in self._resident:
            listen(Progress(stage="loading"))
            await self.load(request.model)
        loaded = clock()
        self.started[:] = [*self.started[-999:], request]
        self._in_flight += 1
        try:
            listen(Progress(stage="waiting", steps=request.steps))
            colours = [_colour(request, index) for index in range(request.batch_size)]
            shown = Image.new("RGB", (request.width // 8, request.height // 8), colours[0])
            for step in range(request.steps + 1):
                if step:
                    await asyncio.sleep(self.step_seconds)
                    self._steps += 1
                preview = shown if step else None
                listen(Progress(stage="sampling", step=step, steps=request.steps, preview=preview))
            if request.prompt == "fail":
                raise GenerationFailed("the prompt asked for a failure")
            listen(Progress(stage="decoding", step=request.steps, steps=request.steps))
        finally:
            self._in_flight -= 1
        sampled = clock()
        return GenerationResult(
            outputs={PICTURES: [Image.new("RGB", (request.width, request.height), colour) for colour in colours]},
            workflow=request.workflow(),
            latents=cast(Any, None),  # a tensor needs torch, and the server does not use it
            request=request,
            timings=Timings(
                load=loaded - start, encode=0.0, wait=0.0, sample=sampled - loaded, decode=0.0, total=sampled - start
            ),
            record={"checkpoint": f"{request.model}.safetensors", "device": "none", "backend": "instant"},
        )

    def models(self) -> list[ModelInfo]:
        return [self._info(name) for name in self.names]

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
            path=str(Path("/nowhere", f"{name}.safetensors")),
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


def _colour(request: GenerationRequest, index: int) -> tuple[int, int, int]:
    """Return a colour that depends on the request and the place in its batch."""
    text = json.dumps([parameters(request), index], sort_keys=True)
    red, green, blue = hashlib.sha256(text.encode()).digest()[:3]
    return red, green, blue
