"""Measures how far half precision is from float32, on the starter checkpoint, whose pictures show something."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from benchmarks.measuring.callers import TimedPicture, paint_timed
from benchmarks.measuring.likeness import psnr
from benchmarks.measuring.workloads import Scale, alone
from benchmarks.subjects.worker import Worker
from benchmarks.suite.workbench import SkipSection, Workbench
from engine import GenerationRequest
from engine.folders import SHIPPED_MODELS

STARTER = SHIPPED_MODELS / "starter.safetensors"
_PROMPTS = (
    "a red boat on the sea at sunset",
    "two yellow houses before a forest at dawn",
    "a lighthouse at night",
    "three pink trees in the hills, day",
    "beautiful scenery nature glass bottle landscape, purple galaxy bottle",
    "a mountain lake under aurora",
    "a green bottle in the desert",
    "a blue house by the sea, day",
)


def run(bench: Workbench, seconds: float) -> None:
    """Compare the engine in each precision of the plan with float32 on the same requests."""
    if not STARTER.exists():
        raise SkipSection(f"there is no {STARTER.name}")
    plan = bench.plan
    dtypes = [dtype for dtype in plan.dtypes if dtype != "float32"]
    if not dtypes:
        raise SkipSection("only float32 was asked for")
    scale = Scale(size=64, steps=2) if plan.quick else Scale(size=256, steps=20)
    requests = _requests(scale, 2 if plan.quick else len(_PROMPTS))
    exact = replace(bench.engine("float32"), name="starter float32", checkpoint=STARTER, reference=True)
    subjects = [replace(bench.engine(dtype), name=f"starter {dtype}", checkpoint=STARTER) for dtype in dtypes]
    bench.crew.start([exact, *subjects])
    reference = _pictures(bench, bench.open_one(exact, timed=False), requests)
    for dtype, subject in zip(dtypes, subjects, strict=True):
        pictures = _pictures(bench, bench.open_one(subject, timed=False), requests)
        alike = [
            psnr(one.delivery.pixels, other.delivery.pixels) for one, other in zip(reference, pictures, strict=True)
        ]
        bench.figure("precision", "likeness to float32", f"engine {dtype}", alike, "dB", "higher", size=scale.size)
    bench.crew.release(subject.name for subject in [exact, *subjects])


def _requests(scale: Scale, count: int) -> list[GenerationRequest]:
    return [replace(alone(scale, number), prompt=prompt) for number, prompt in enumerate(_PROMPTS[:count])]


def _pictures(bench: Workbench, worker: Worker, requests: list[GenerationRequest]) -> list[TimedPicture]:
    return [bench.call(worker, partial(paint_timed, request=request), 10) for request in requests]
