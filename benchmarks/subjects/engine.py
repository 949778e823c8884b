"""This project's engine as a subject."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.subjects.subject import Delivery, GivenUp
from engine import Engine, EngineConfig, GenerationRequest, Handle
from engine.errors import Cancelled
from engine.running.observer import Observer, Stage, Unobserved


class ObserverSwitch:
    """Passes an engine's reports on to the observer that is set now, which may change while the engine works."""

    def __init__(self) -> None:
        self._current: Observer = Unobserved()

    def stage(self, name: Stage) -> AbstractContextManager[None]:
        return self._current.stage(name)

    @contextmanager
    def to(self, observer: Observer) -> Iterator[None]:
        """Pass everything on to ``observer`` until the block ends."""
        self._current = observer
        try:
            yield
        finally:
            self._current = Unobserved()


@dataclass(kw_only=True)
class EngineSubject:
    """Runs this project's engine in the process that opens it, called as any Python program calls it."""

    name: str
    checkpoint: Path
    device: str
    dtype: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of ``EngineConfig``."""
    reference: bool = False
    """Whether convolutions compute in full float32, without the shorter TF32 that torch allows them on a GPU."""
    inputs: Path | None = None
    """The folder of the pictures that requests name."""
    concurrent: bool = True
    includes: str = "prompt encoding, sampling, VAE; to an array on the CPU"

    def absent(self) -> str | None:
        return None

    def open(self) -> None:
        self._door = threading.Lock()
        self._under_way: set[Handle] = set()
        self._record: Mapping[str, Any] = {}
        self._shapes = 0
        self.observers = ObserverSwitch()
        if self.reference:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.engine = Engine(
            EngineConfig(
                checkpoint=self.checkpoint,
                device=self.device,
                dtype=self.dtype,  # type: ignore[arg-type]
                **self.settings,
            ),
            observer=self.observers,
        )

    def paint(self, request: GenerationRequest) -> Delivery:
        handle = self.engine.submit(request, inputs=() if self.inputs is None else self.inputs)
        with self._door:
            self._under_way.add(handle)
        try:
            result = handle.result()
        except Cancelled:
            raise GivenUp from None
        finally:
            with self._door:
                self._under_way.discard(handle)
        self._record = result.record
        return Delivery(np.asarray(result.images[0]), result.record, result.timings.sample)

    def forget(self, lora: Path) -> None:
        """Let go of what was made with ``lora``, so that its next use is its first one."""
        self.engine.unload(lora)

    def give_up(self) -> None:
        with self._door:
            under_way = list(self._under_way)
        for handle in under_way:
            handle.cancel()

    def settled(self) -> bool:
        """Say whether nothing was prepared since the last call of this method."""
        before, self._shapes = self._shapes, self.counts().get("shapes", 0)
        return before == self._shapes

    def counts(self) -> Mapping[str, int]:
        return self.engine.counts

    def record(self) -> Mapping[str, Any]:
        return self._record

    def close(self) -> None:
        self.engine.close()
