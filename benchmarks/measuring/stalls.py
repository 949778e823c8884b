"""Measures how long a caller's steps wait while another one has something large done. Runs in the engine's process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.measuring.features import LARGE, LORA, UPSCALER
from benchmarks.subjects.engine import EngineSubject
from benchmarks.subjects.subject import Subject
from engine import GenerationRequest, Workflow
from engine.request_parts import Lora
from engine.running.observer import Stage

Task = Literal[
    "LoRA's first use",
    "encode",
    "decode",
    "lanczos",
    "edges",
    "upscaler",
    "blur",
    "sharpen",
    "outline",
    "line art",
    "scribble",
    "luminance",
    "soft light",
    "grown mask",
]

_OF_A_PICTURE: Mapping[Task, tuple[str, dict[str, Any]]] = {
    "edges": ("Canny", {"low_threshold": 0.1, "high_threshold": 0.3}),
    "blur": ("ImageBlur", {"blur_radius": 31, "sigma": 10.0}),
    "sharpen": ("ImageSharpen", {"sharpen_radius": 31, "sigma": 10.0, "alpha": 1.0}),
    "outline": ("CannyEdgePreprocessor", {"resolution": 2048}),
    "line art": ("LineartStandardPreprocessor", {"resolution": 2048}),
    "scribble": ("Scribble_XDoG_Preprocessor", {"resolution": 2048}),
    "luminance": ("ImageLuminanceDetector", {"resolution": 2048}),
}
"""The tasks that are one node over one picture: its class in ComfyUI, and its inputs beside ``image``."""

_BEFORE = 6
"""Steps that are watched before the task starts; the first one counts for nothing."""

_FOREVER = 10_000
"""Steps of the caller that is watched, who is cancelled at the end."""


@dataclass(frozen=True, kw_only=True)
class Stall:
    """What a task did to the other caller. All times are in seconds."""

    usual: list[float]
    """The steps before the task."""
    meanwhile: list[float]
    """The steps while the task was under way."""
    gap: float
    """The longest time between two steps while the task was under way."""
    processor_gap: float
    """The same in processor time of the engine's thread, which other work on the machine does not change."""
    seconds: float
    """How long the task took."""


class Watch:
    """Notes each step of the UNet, and what lies between two."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.gaps: list[tuple[float, float]] = []
        """By the wall clock, and in processor time of the engine's thread; before each step but the first."""
        self._ended: tuple[float, float] | None = None

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        if name != "step":
            yield
            return
        start = _now()
        if self._ended is not None:
            self.gaps.append((start[0] - self._ended[0], start[1] - self._ended[1]))
        yield
        self._ended = _now()
        self.steps.append(self._ended[0] - start[0])


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


def observe_stall(subject: Subject, task: Task, request: GenerationRequest, side: int, lora: Path) -> Stall:
    """Watch a caller's steps while ``task`` is done, with pictures of ``side`` pixels where it is of pictures.

    ``request`` says how large the steps are.
    """
    assert isinstance(subject, EngineSubject)
    subject.forget(lora)
    engine, watch = subject.engine, Watch()
    with subject.observers.to(watch):
        other = engine.submit(replace(request, steps=_FOREVER))
        try:
            while len(watch.steps) < _BEFORE and not other.done:
                time.sleep(0.01)
            steps, gaps, begin = len(watch.steps), len(watch.gaps), time.perf_counter()
            wanted = _wanted(task, request, subject.checkpoint, side)
            engine.generate(wanted, inputs=() if subject.inputs is None else subject.inputs)
            seconds = time.perf_counter() - begin
            last = len(watch.gaps)
            while len(watch.gaps) <= last and not other.done:  # the step after it ends the last gap
                time.sleep(0.01)
        finally:
            other.cancel()
    between = watch.gaps[gaps : last + 1]
    return Stall(
        usual=watch.steps[1:steps],
        meanwhile=watch.steps[steps:last],
        gap=max(gap for gap, _ in between),
        processor_gap=max(gap for _, gap in between),
        seconds=seconds,
    )


def _wanted(task: Task, request: GenerationRequest, checkpoint: Path, side: int) -> GenerationRequest | Workflow:
    if task == "LoRA's first use":
        return replace(request, steps=1, prompt="another picture", loras=(Lora(name=LORA),))
    model = {"checkpoint": _node("CheckpointLoaderSimple", ckpt_name=str(checkpoint.absolute()))}
    latents = {"latents": _node("EmptyLatentImage", width=side, height=side, batch_size=1)}
    decoded = _node("VAEDecode", samples=["latents", 0], vae=["checkpoint", 2])
    picture = {"picture": _node("LoadImage", image=LARGE)}
    match task:
        case "encode":
            encoded = _node("VAEEncode", pixels=["picture", 0], vae=["checkpoint", 2])
            crop = _node("LatentCrop", samples=["encoded", 0], width=64, height=64, x=0, y=0)
            return _graph(model | picture | {"encoded": encoded, "latents": crop, "made": decoded})
        case "decode":
            return _graph(model | latents | {"made": decoded})
        case "lanczos":
            size = {"width": side // 2, "height": side // 2, "crop": "disabled"}
            return _graph(
                picture | {"made": _node("ImageScale", image=["picture", 0], upscale_method="lanczos", **size)}
            )
        case "soft light":
            blend = {"image2": ["picture", 0], "blend_factor": 0.5, "blend_mode": "soft_light"}
            return _graph(picture | {"made": _node("ImageBlend", image1=["picture", 0], **blend)})
        case "grown mask":
            mask = _node("ImageToMask", image=["picture", 0], channel="red")
            grown = _node("GrowMask", mask=["mask", 0], expand=-64, tapered_corners=False)
            return _graph(picture | {"mask": mask, "grown": grown, "made": _node("MaskToImage", mask=["grown", 0])})
        case "upscaler":
            crop = _node("ImageCrop", image=["picture", 0], width=side // 4, height=side // 4, x=0, y=0)
            loader = _node("UpscaleModelLoader", model_name=UPSCALER)
            larger = _node("ImageUpscaleWithModel", upscale_model=["loader", 0], image=["part", 0])
            return _graph(picture | {"part": crop, "loader": loader, "made": larger})
    kind, inputs = _OF_A_PICTURE[task]
    return _graph(picture | {"made": _node(kind, image=["picture", 0], **inputs)})


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def _graph(nodes: dict[str, Any]) -> Workflow:
    return Workflow.from_comfyui(nodes | {"kept": _node("SaveImage", images=["made", 0], filename_prefix="made")})
