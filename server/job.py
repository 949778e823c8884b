"""What the server keeps of a request: a job, its states and its pictures. Knows no database, HTTP or engine thread."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine import GenerationRequest, Workflow
from engine.parameters import to_json
from engine.workflow.from_request import PICTURES
from server.inputs.input import Input
from server.task import Task

PICTURE_NAME = re.compile(r"([0-9a-f]{32})-\d+-\d+\.png")
"""The name of a picture's file: its job's token, the attempt, and its number within the job."""

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""The ids that a caller may choose for a job."""

JOB_ID_RULE = "1 to 128 letters, digits and . _ : - that start with a letter or a digit"
"""``JOB_ID`` in words, for errors."""

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
"""``queued``: accepted, waiting · ``running``: claimed by an attempt · the other three are ends, which never change."""

FINISHED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})

Stage = Literal["loading", "waiting", "sampling", "decoding"]
"""The stages of a running request, as ``engine.Progress`` names them."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One PNG that a job made."""

    name: str
    """The file name, ``….png``, which cannot be guessed."""
    width: int
    height: int
    seed: int
    """The seed of the noise that it was made from."""
    request: int
    """The number of the job's task that made it, from 0."""
    index: int
    """The picture's place in its output's batch, from 0."""
    node: str = PICTURES
    """The id of the output node that it is from."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a job failed."""

    kind: str
    """``bad_request``, ``unknown_checkpoint``, ``broken_checkpoint``, ``out_of_memory``, ``generation_failed``,
    ``attempts_exhausted``, ``storage_failed``; ``not_found`` for an input that was gone when its job ran."""
    message: str
    field: str | None = None
    """The parameter at fault, if there is one."""


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """An address that is called when something happens to a job."""

    url: str
    events: tuple[str, ...] = ("finished",)
    """Some of ``started``, ``output``, ``progress``, ``finished``."""
    form: str = "native"
    """The dialect that writes the body."""


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """What a dialect asks for; ``Jobs.accept`` turns it into a job."""

    wanted: tuple[GenerationRequest | Workflow, ...]
    """At least one; they run in parallel. A request's seed of None is drawn when the job is accepted."""
    dialect: str
    """``native``, ``openai``, ``sdapi``, ``comfyui``, ``replicate``, ``huggingface``."""
    client: str
    """The caller, between which the device is shared fairly: a key's name or the peer's address."""
    id: str | None = None
    """An id that the caller chose, if the dialect allows that; it must be new."""
    priority: int = 0
    """From −10 to 10; higher goes first."""
    idempotency_key: str | None = None
    """A key with which the same client gets the job that the key gave before, within the retention time."""
    label: str | None = None
    """A name under which the dialect finds its jobs again: ComfyUI's id of the file that a prompt was made in."""
    asked: object = None
    """The call as it came in, as JSON, which must be the same if the idempotency key is. None stands for the requests
    themselves, which is wrong if the dialect drew their seeds."""
    webhook: Webhook | None = None
    inputs: Mapping[str, Input] = field(default_factory=dict)
    """The pictures that were handed in, by the names that the workflows have for them. An input's id stands for itself;
    what ``Inputs.keep`` returned to this call belongs here all the same, so that its holds end with the call."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What the dialect must remember, as JSON, such as the call's own form of the request."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as it is in the store at one moment."""

    id: str
    sequence: int
    """The job's number in the order of acceptance, which no other job ever gets."""
    state: State
    tasks: tuple[Task, ...]
    """What is carried out, with fixed seeds and named models."""
    dialect: str
    client: str
    priority: int
    created: float
    """The Unix time of acceptance in seconds."""
    started: float | None = None
    """The Unix time at which the latest attempt started."""
    finished: float | None = None
    """The Unix time of the end."""
    attempt: int = 0
    """The number of attempts so far; each claim raises it."""
    cancel_requested: bool = False
    interrupted: bool = False
    """Whether it was asked to end with the pictures that are done."""
    pictures: tuple[Picture, ...] = ()
    """The pictures in the order of tasks, outputs and batches. A running job has those of the tasks that have ended;
    one that failed or was cancelled has none."""
    failure: Failure | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage: ``queued``, those of ``engine.Timings`` (the longest of all tasks), ``encode_png``."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What the pictures' bytes depend on besides the tasks."""
    idempotency_key: str | None = None
    label: str | None = None
    webhook: Webhook | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    """The part of its pictures' names that cannot be guessed."""
    excused: int = 0
    """The number of attempts that a shutdown of the server ended, which do not count."""

    @property
    def done(self) -> bool:
        """Whether the job has ended."""
        return self.state in FINISHED

    @property
    def requests(self) -> tuple[GenerationRequest, ...]:
        """The requests of the tasks that have one."""
        return tuple(task.request for task in self.tasks if task.request is not None)

    @property
    def request(self) -> GenerationRequest:
        """The first task's request. Only for jobs whose dialect speaks of requests."""
        request = self.tasks[0].request
        assert request is not None, f"job {self.id} is a graph that no request says"
        return request

    @property
    def pictures_asked(self) -> int:
        """The number of pictures that the job could have in progress at the same time."""
        return sum(task.pictures for task in self.tasks)

    @property
    def work(self) -> float:
        """The cost of the job in sampling steps of a 512 × 512 picture."""
        return sum(task.work for task in self.tasks)

    @property
    def model(self) -> str:
        """The name of the checkpoint that its first task runs on."""
        return self.tasks[0].model


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job stands in the queue."""

    ahead: int
    """The number of jobs that will probably start before it."""
    wait: float | None
    """The estimated seconds until it is done, judging by recent jobs; None if nothing is known yet."""


def parameters(request: GenerationRequest) -> dict[str, Any]:
    """Return a request's parameters as the JSON of answers, in which a seed is a whole number, however long."""
    return to_json(request) | {"seed": request.seed}
