"""Turns a job's events into the websocket messages that ComfyUI would send for its graph. Knows no sockets."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from server.dialects.comfyui.history import Message, beginning, course_of, ending, output, pictures_of
from server.job import Job, Picture
from server.queue.events import Event

_PREVIEW = 1
_PREVIEW_WITH_METADATA = 4
_JPEG = 1
_PNG = 2


class Stream:
    """Knows what a client has been sent about one job, and what comes next.

    A graph's nodes are reported one by one, in the order in which ComfyUI would run them, whatever the events leave
    out; the sampler's steps are its progress.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.started = False
        """Whether the client knows that the job runs."""
        self._course = course_of(job)
        self._place: int | None = None
        self._sampled = False
        """Whether the client knows that all steps are done."""
        self._cached: Sequence[str] | None = None
        """The nodes that have nothing to do, as the client knows it; None until it does."""
        self._latest: Event | None = None
        self._stepped: Event | None = None
        """The latest event that counts steps."""
        self.sent: dict[str, Sequence[bytes]] = {}
        """The PNGs of each ``SaveImageWebsocket`` node, to be sent as its result."""
        self._made: dict[str, Sequence[Picture]] = {}
        """The pictures of output nodes that the client does not know of yet."""
        self.executed: set[str] = set()
        """The output nodes whose result the client knows."""

    def begin(self) -> Iterator[Message | bytes]:
        """Report that the job runs, and what has happened since it started."""
        self.started = True
        yield beginning(self.job)[0]
        if self._latest is not None:
            yield from self._advance(self._latest)
        yield from self._show_made()

    def note(self, event: Event) -> None:
        """Note an event without sending anything yet."""
        self.job = event.job
        if event.kind == "output" and event.node is not None:
            self._made[event.node] = event.pictures
        elif event.kind == "progress":
            self._latest = event
            if event.steps or event.step:
                self._stepped = event

    def advance(self, event: Event) -> Iterator[Message | bytes]:
        """Report an event."""
        self.note(event)
        if event.kind == "output":
            yield from self._show_made()
        else:
            yield from self._advance(event)

    def standing(self) -> Iterator[Message]:
        """Report where the job is, for a client that connects again."""
        if self._place is not None:
            yield self._executing(self._course.order[self._place])
            if self._latest is not None and self._latest.stage == "sampling":
                yield from self._step(self._latest)

    def finish(self) -> Iterator[Message | bytes]:
        """Report the end of ``job``, which is in its end state."""
        if self.started:
            yield from self._say_cached(())
        if self.job.state == "succeeded":
            self._made = {node: pictures_of(self.job, node) for node in self._course.outputs}
            yield from self._show_made()
            yield from self._enter_up_to(len(self._course.order) - 1)
        failed_at = None if self.job.state == "failed" else self._place or 0
        yield ending(self.job, self._course, failed_at)
        yield "executing", {"node": None, "display_node": None, "prompt_id": self.job.id}

    def preview(self, picture: bytes, *, with_metadata: bool) -> bytes:
        """Write a JPEG as a binary message: type 1, or type 4 with the node and the prompt that it belongs to."""
        if not with_metadata:
            return struct.pack(">II", _PREVIEW, _JPEG) + picture
        node = self._course.order[self._place or 0]
        data = {
            "node_id": node,
            "display_node_id": node,
            "real_node_id": node,
            "parent_node_id": None,
            "prompt_id": self.job.id,
            "image_type": "image/jpeg",
        }
        text = json.dumps(data).encode()
        return struct.pack(">II", _PREVIEW_WITH_METADATA, len(text)) + text + picture

    def _next(self) -> int:
        return 0 if self._place is None else self._place + 1

    def _say_cached(self, cached: Sequence[str]) -> Iterator[Message]:
        """Report once what has nothing to do, before anything is executed."""
        if self._cached is None:
            self._cached = cached
            yield beginning(self.job, cached)[1]

    def _show_made(self) -> Iterator[Message | bytes]:
        """Report the results of output nodes. Pictures that are sent are binary messages under their node."""
        made, self._made = self._made, {}
        for node in sorted(made.keys() - self.executed, key=self._course.order.index):
            self.executed.add(node)
            yield from self._say_cached(())
            yield from self._enter_up_to(self._course.order.index(node))
            for png in self.sent.pop(node, ()):
                yield struct.pack(">II", _PREVIEW, _PNG) + png
            shown = output(self.job, self._course, node, made[node])
            if shown is not None:
                yield "executed", {"node": node, "display_node": node, "output": shown, "prompt_id": self.job.id}

    def _advance(self, event: Event) -> Iterator[Message]:
        yield from self._say_cached(event.cached)
        yield from self._enter_up_to(self._course.place_of(event))
        if event.stage == "sampling":
            yield from self._step(event)

    def _enter_up_to(self, place: int) -> Iterator[Message]:
        for node in self._course.order[self._next() : place + 1]:
            yield from self._enter(node)

    def _enter(self, node: str) -> Iterator[Message]:
        """Start the next node. A sampler's last step is always sent before the next node starts, even if its event was
        left out: many clients wait for it to draw a full bar."""
        if self._at_sampler() and not self._sampled and (steps := self._steps()):
            yield from self._progress(steps, steps)
        self._place, self._sampled = self._next(), False
        if node not in (self._cached or ()):
            yield self._executing(node)

    def _at_sampler(self) -> bool:
        return self._place is not None and self._course.samples(self._course.order[self._place])

    def _steps(self) -> int:
        """Return the steps of the current sampler: as events say, which may not know (dpm_adaptive), or as was asked
        for."""
        assert self._place is not None
        latest, node = self._stepped, self._course.order[self._place]
        if latest is not None and latest.node in (node, None) and (latest.steps or latest.step):
            return latest.steps or latest.step
        task = self.job.tasks[0]
        sample = task.workflow.places.get((node, 0))
        return next((steps for each, steps in task.needs.steps.items() if each == sample), 0)

    def _executing(self, node: str) -> Message:
        return "executing", {"node": node, "display_node": node, "prompt_id": self.job.id}

    def _step(self, event: Event) -> Iterator[Message]:
        """Report a step. Where the number of steps is not known (dpm_adaptive), ``max`` is one more than are done."""
        yield from self._progress(event.step, event.step + 1 if event.steps is None else event.steps)

    def _progress(self, value: int, most: int) -> Iterator[Message]:
        assert self._place is not None
        self._sampled = self._sampled or value >= most
        node = self._course.order[self._place]
        yield "progress", {"value": value, "max": most, "prompt_id": self.job.id, "node": node}
        states = {each: self._state(each, 1, 1, "finished") for each in self._course.order[: self._place]}
        states[node] = self._state(node, value, most, "running")
        yield "progress_state", {"prompt_id": self.job.id, "nodes": states}

    def _state(self, node: str, value: int, most: int, state: str) -> dict[str, Any]:
        return {
            "value": value,
            "max": most,
            "state": state,
            "node_id": node,
            "prompt_id": self.job.id,
            "display_node_id": node,
            "parent_node_id": None,
            "real_node_id": node,
        }
