"""A run under way: what all sections share. Knows whose speed is measured; each section knows what is measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import torch

from benchmarks.measuring.floor import Ceilings, Work, count_work
from benchmarks.measuring.machine import memory_bytes
from benchmarks.reports.figures import Better, Condition, Figure
from benchmarks.reports.report import Report
from benchmarks.subjects.crew import Crew
from benchmarks.subjects.engine import EngineSubject
from benchmarks.subjects.peers.comfyui import ComfyuiSubject
from benchmarks.subjects.peers.diffusers import DiffusersSubject
from benchmarks.subjects.peers.stable_diffusion_cpp import StableDiffusionCppSubject
from benchmarks.subjects.subject import Subject
from benchmarks.subjects.worker import Worker, WorkerLost
from benchmarks.suite.budget import Budget
from benchmarks.suite.plan import Plan, Variant
from engine.checkpoint import inspect_checkpoint

T = TypeVar("T")

_ROOM = 2**31  # bytes that a subject takes beside its weights, about
_COPIES = 1.3  # of the weights, with what is made of them


class SkipSection(Exception):
    """A section that makes no sense here, or does not fit into the time; the message says why."""


@dataclass(kw_only=True)
class Bench:
    """What all sections of a run share."""

    plan: Plan
    report: Report
    budget: Budget
    crew: Crew
    ceilings: dict[str, Ceilings] = field(default_factory=dict)
    """By dtype; filled by the section ``machine``."""

    @property
    def device(self) -> torch.device:
        return torch.device(self.plan.device)

    @cached_property
    def work(self) -> Work:
        """The operations of a picture of the plan's size."""
        return count_work(self.plan.checkpoint, self.plan.scale.size)

    def engine(self, dtype: str | None = None, variant: Variant | None = None) -> EngineSubject:
        """The engine as it comes, or with other settings."""
        dtype = dtype or self.plan.dtype
        settings = dict(self.plan.settings)
        if variant is not None:
            settings |= dict(variant.settings)
        return EngineSubject(
            name=f"engine {dtype}" if variant is None else f"engine ({variant.name}) {dtype}",
            checkpoint=self.plan.checkpoint,
            device=self.plan.device,
            dtype=dtype,
            settings=settings,
        )

    def engines(self) -> list[Subject]:
        """The engine in each precision of the plan."""
        return [self.engine(dtype) for dtype in self.plan.dtypes]

    @cached_property
    def peers(self) -> list[Subject]:
        """Those of the plan's peers that can run here, in each of its precisions; the others are skipped."""
        plan, found = self.plan, list[Subject]()
        if "comfyui" in plan.peers and plan.comfyui is None:
            self.report.skip("ComfyUI", "no checkout was named (--comfyui DIR)")
        for dtype in plan.dtypes:
            for name in plan.peers:
                if name == "comfyui" and plan.comfyui is None:
                    continue
                peer = self._peer(name, dtype)
                if (reason := peer.absent()) is None:
                    found.append(peer)
                else:
                    self.report.skip(peer.name, reason)
        return found

    def _peer(self, name: str, dtype: str) -> Subject:
        plan = self.plan
        if name == "comfyui":
            assert plan.comfyui is not None
            return ComfyuiSubject(
                name=f"ComfyUI {dtype}",
                checkpoint=plan.checkpoint,
                device=plan.device,
                dtype=dtype,
                folder=plan.comfyui,
                python=plan.comfyui_python or sys.executable,
            )
        if name == "cpp":
            return StableDiffusionCppSubject(
                name=f"stable-diffusion.cpp {dtype}", checkpoint=plan.checkpoint, device=plan.device, dtype=dtype
            )
        return DiffusersSubject(
            name=f"{'stock' if name == 'stock' else 'best'} diffusers {dtype}",
            checkpoint=plan.checkpoint,
            device=plan.device,
            dtype=dtype,
            compiled=plan.compiled if name == "best" else None,
            scale=plan.scale,
        )

    def heats(self, *beside: Subject) -> list[list[Subject]]:
        """Engines, those ``beside`` them, and peers in groups that fit into the memory together: all at once, or all
        others with each peer.
        """
        engines, peers = [*self.engines(), *beside], self.peers
        if self.fit([*engines, *peers]) or not peers:
            return [engines + peers]
        return [[*engines, peer] for peer in peers]

    def fit(self, subjects: Sequence[Subject]) -> bool:
        """Whether all of these can be open at once, by a guess."""
        facts = inspect_checkpoint(self.plan.checkpoint)
        sizes = [facts.size_bytes(getattr(torch, one.dtype)) for one in subjects]
        return sum(_COPIES * size + _ROOM for size in sizes) <= memory_bytes(self.device) * 0.9

    def open(self, subjects: Sequence[Subject], timed: bool = True) -> list[Worker]:
        """As ``Crew.open``; keeps what a reader must know of each subject."""
        workers = self.crew.open(subjects, timed)
        for worker in workers:
            subject = worker.subject
            self.report.subjects.setdefault(subject.name, {"includes": subject.includes, "dtype": subject.dtype})
        return workers

    def call(self, worker: Worker, job: Callable[[Subject], T], expected: float) -> T:
        """``job`` in the worker, which is expected to take so many seconds and given ten times as long, or as long as
        is left. Raises ``WorkerFailed``; a worker that is lost is dropped.
        """
        try:
            return worker.call(job, max(30.0, min(60 + 10 * expected, self.budget.left() + 60)))
        except WorkerLost as reason:
            self.crew.drop(worker.subject.name, str(reason))
            raise

    def open_one(self, subject: Subject, timed: bool = True) -> Worker:
        """The worker of ``subject``. Raises ``SkipSection`` where there is none."""
        workers = self.open([subject], timed)
        if not workers:
            raise SkipSection(f"{subject.name} could not be opened")
        return workers[0]

    def ask_time(self, seconds: float) -> None:
        """Raise ``SkipSection`` if so many seconds are not left."""
        if seconds > self.budget.left():
            left = max(0.0, self.budget.left())
            raise SkipSection(f"it needs about {seconds:.0f} s, and {left:.0f} s of {self.plan.minutes:g} min are left")

    def figure(
        self,
        section: str,
        name: str,
        subject: str,
        samples: Sequence[float],
        unit: str,
        better: Better = "neither",
        **conditions: Condition,
    ) -> None:
        """Keep what was measured."""
        self.report.add(
            Figure(
                section=section,
                name=name,
                subject=subject,
                unit=unit,
                samples=tuple(samples),
                better=better,
                conditions=conditions,
            )
        )
