"""Runs one stage of the training: resumes, saves at least once a minute, prints its progress, stops in time."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

SAVE_EVERY = 45.0  # seconds


class Stage(Protocol):
    """Something that is trained step by step. A step depends on its number and the state alone, so that resuming
    changes nothing.

    It returns its figures as tensors, which are read only when they are printed: reading one makes the host wait for a
    GPU.
    """

    name: str
    steps: int

    def step(self, number: int) -> dict[str, Tensor]: ...
    def state(self) -> dict[str, Any]: ...
    def resume(self, state: dict[str, Any]) -> None: ...
    def show(self, folder: Path, number: int) -> None: ...
    def finish(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Says when to stop: ``deadline`` in seconds of ``time.monotonic``."""

    deadline: float

    def is_over(self) -> bool:
        return time.monotonic() >= self.deadline


def run(stage: Stage, folder: Path, clock: Clock, show_every: float = 300.0) -> bool:
    """Train to the end or the deadline, and return whether the stage is complete."""
    path = folder / f"{stage.name}.pt"
    number = 0
    if path.exists():
        saved = torch.load(path, map_location="cpu", weights_only=True)
        number = saved.pop("steps done")
        stage.resume(saved)
    if number >= stage.steps:
        return True
    begin, first, last_save, last_show = time.monotonic(), number, time.monotonic(), time.monotonic()
    mean: dict[str, Tensor] = {}
    while number < stage.steps and not clock.is_over():
        for name, value in stage.step(number).items():
            mean[name] = value if name not in mean else 0.95 * mean[name] + 0.05 * value
        number += 1
        now = time.monotonic()
        if now - last_save > SAVE_EVERY:
            save(stage, number, path)
            last_save = now
            _print_progress(stage, number, (number - first) / (now - begin), mean, folder)
        if now - last_show > show_every:
            stage.show(folder, number)
            last_show = time.monotonic()
    if number >= stage.steps:
        stage.finish()
    save(stage, number, path)
    stage.show(folder, number)
    _print_progress(stage, number, (number - first) / max(time.monotonic() - begin, 1e-9), mean, folder)
    return number >= stage.steps


def save(stage: Stage, number: int, path: Path) -> None:
    """Save whole or not at all: write a file beside, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    torch.save(stage.state() | {"steps done": number}, temporary)
    os.replace(temporary, path)


def _print_progress(stage: Stage, number: int, rate: float, mean: dict[str, Tensor], folder: Path) -> None:
    left = (stage.steps - number) / max(rate, 1e-9)
    figures = {name: float(value) for name, value in mean.items()}
    losses = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
    print(f"{stage.name}  {number}/{stage.steps}  {rate:.2f} steps/s  {left / 60:.1f} min left  {losses}", flush=True)
    with (folder / "progress.jsonl").open("a") as log:
        log.write(json.dumps({"stage": stage.name, "step": number, "rate": rate, **figures}) + "\n")
