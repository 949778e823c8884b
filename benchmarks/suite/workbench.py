"""Holds what the sections of a run share, and says which subjects are measured. Knows nothing of what is measured."""

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
from benchmarks.subjects.peers.earlier import EarlierEngineSubject
from benchmarks.subjects.peers.stable_diffusion_cpp import StableDiffusionCppSubject
from benchmarks.subjects.subject import Subject
from benchmarks.subjects.worker import Worker, WorkerLost
from benchmarks.suite.budget import Budget
from benchmarks.suite.plan import Plan, Variant
from engine.checkpoint import inspect_checkpoint

T = TypeVar("T")

_BESIDE = 2**31  # bytes that a subject takes beside its weights, estimated
_COPIES = 1.3  # sizes of the weights that a subject holds, with what it derives from them, estimated


class SkipSection(Exception):
    """A section cannot run here or does not fit into the time; the message says why."""


@dataclass(kw_only=True)
class Workbench:
    """What all sections of a run share: plan, report, time and open subjects."""

    plan: Plan
    report: Report
    budget: Budget
    crew: Crew
    ceilings: dict[str, Ceilings] = field(default_factory=dict)
    """The machine's best rates by dtype; the section ``machine`` fills them in."""

    @property
    def device(self) -> torch.device:
        return torch.device(self.plan.device)

    @cached_property
    def work(self) -> Work:
        """The operations that a picture of the plan's size takes."""
        return count_work(self.plan.checkpoint, self.plan.scale.size)

    def engine(self, dtype: str | None = None, variant: Variant | None = None) -> EngineSubject:
        """Describe the engine with the plan's settings, and with those of ``variant`` on top."""
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
        """Describe the engine in each precision of the plan."""
        return [self.engine(dtype) for dtype in self.plan.dtypes]

    def earlier(self, dtype: str | None = None) -> list[Subject]:
        """Describe the engine of the checkout that the plan names, with the same settings; empty if it names none."""
        if self.plan.earlier is None:
            return []
        dtype = dtype or self.plan.dtype
        return [
            EarlierEngineSubject(
                name=f"earlier engine {dtype}",
                checkpoint=self.plan.checkpoint,
                device=self.plan.device,
                dtype=dtype,
                folder=self.plan.earlier,
                settings=self.plan.settings,
            )
        ]

    @cached_property
    def peers(self) -> list[Subject]:
        """The plan's peers that can run here, in each of its precisions; the others are skipped."""
        plan, found = self.plan, list[Subject]()
        if "comfyui" in plan.peers and plan.comfyui is None:
            self.report.skip("ComfyUI", "no checkout was named (--comfyui DIR)")
        for dtype in plan.dtypes:
            named = [name for name in plan.peers if name != "comfyui" or plan.comfyui is not None]
            for peer in [*self.earlier(dtype), *(self._peer(name, dtype) for name in named)]:
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

    def groups(self, *beside: Subject) -> list[list[Subject]]:
        """Group engines, subjects ``beside`` them and peers so that each group fits into memory.

        Gives one group of all if they fit together, else a group for each peer.
        """
        engines, peers = [*self.engines(), *beside], self.peers
        if self.fit([*engines, *peers]) or not peers:
            return [engines + peers]
        return [[*engines, peer] for peer in peers]

    def fit(self, subjects: Sequence[Subject]) -> bool:
        """Estimate whether all of these can be open at the same time."""
        facts = inspect_checkpoint(self.plan.checkpoint)
        sizes = [facts.size_bytes(getattr(torch, one.dtype)) for one in subjects]
        return sum(_COPIES * size + _BESIDE for size in sizes) <= memory_bytes(self.device) * 0.9

    def open(self, subjects: Sequence[Subject], timed: bool = True) -> list[Worker]:
        """Open subjects as ``Crew.open`` does, and record in the report what each one includes."""
        workers = self.crew.open(subjects, timed)
        for worker in workers:
            subject = worker.subject
            self.report.subjects.setdefault(subject.name, {"includes": subject.includes, "dtype": subject.dtype})
        return workers

    def call(self, worker: Worker, job: Callable[[Subject], T], expected: float) -> T:
        """Run ``job`` in the worker, for at most ten times the ``expected`` seconds, or what is left of the run.

        Raises ``WorkerFailed``; a worker that is lost is dropped.
        """
        try:
            return worker.call(job, max(30.0, min(60 + 10 * expected, self.budget.left() + 60)))
        except WorkerLost as reason:
            self.crew.drop(worker.subject.name, str(reason))
            raise

    def open_one(self, subject: Subject, timed: bool = True) -> Worker:
        """Open ``subject`` and return its worker. Raises ``SkipSection`` if it cannot be opened."""
        workers = self.open([subject], timed)
        if not workers:
            raise SkipSection(f"{subject.name} could not be opened")
        return workers[0]

    def ask_time(self, seconds: float) -> None:
        """Raise ``SkipSection`` if fewer than ``seconds`` are left of the run."""
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
        """Add what was measured to the report."""
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
