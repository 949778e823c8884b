"""What the server keeps of a request: a job, its states and its pictures. Knows no database, HTTP or engine thread."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine import GenerationRequest
from engine.parameters import to_json

PICTURE_NAME = re.compile(r"([0-9a-f]{32})-\d+-\d+\.png")
"""Of a picture's file: its job's token, the attempt, and its number among the job's."""

JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""The ids that a caller may choose for a job."""

JOB_ID_RULE = "1 to 128 letters, digits and . _ : - that start with a letter or a digit"
"""``JOB_ID`` in words, for errors."""

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
"""``queued`` accepted, waiting · ``running`` claimed by an attempt · and the three ends, which never change again."""

FINISHED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})

Stage = Literal["loading", "waiting", "sampling", "decoding"]
"""Where a running request stands, as ``engine.Progress`` calls it."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One PNG that a job made."""

    name: str
    """Its file name, ``….png``; nobody can guess it."""
    width: int
    height: int
    seed: int
    """Of the request that it belongs to."""
    request: int
    """Which of the job's requests, from 0."""
    index: int
    """Its place in that request's batch, from 0."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a job failed."""

    kind: str
    """``bad_request``, ``unknown_checkpoint``, ``broken_checkpoint``, ``out_of_memory``, ``generation_failed``,
    ``attempts_exhausted``, ``storage_failed``."""
    message: str
    field: str | None = None
    """The parameter at fault, where there is one."""


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Whom to tell about a job."""

    url: str
    events: tuple[str, ...] = ("finished",)
    """Of ``started``, ``output``, ``progress``, ``finished``."""
    form: str = "native"
    """The dialect in whose words the body is written."""


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """What a dialect asks for. ``Jobs.accept`` turns it into a job."""

    requests: tuple[GenerationRequest, ...]
    """At least one; carried out in parallel. A seed of None is drawn when the job is accepted."""
    dialect: str
    """``native``, ``openai``, ``sdapi``, ``comfyui``, ``replicate``, ``huggingface``."""
    client: str
    """Who asks, for fairness: a key's name or the peer's address."""
    id: str | None = None
    """Its id, where the dialect lets the caller choose; must be new."""
    priority: int = 0
    """−10 … 10; higher goes first."""
    idempotency_key: str | None = None
    """The same key from the same client within the retention time gives the job it gave before."""
    label: str | None = None
    """A name under which the dialect finds its jobs again: ComfyUI's id of the file that a prompt was made in."""
    asked: object = None
    """The call as it came in, as JSON: what must be the same where the idempotency key is. None: the requests
    themselves, which is wrong where the dialect drew their seeds."""
    webhook: Webhook | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What the dialect must remember, as JSON: ComfyUI's graph, Replicate's input."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as it is in the database at one moment."""

    id: str
    sequence: int
    """Its number in the order of acceptance, over all restarts."""
    state: State
    requests: tuple[GenerationRequest, ...]
    """With their seeds fixed and ``model`` named."""
    dialect: str
    client: str
    priority: int
    created: float
    """Unix time, seconds; as are the other two."""
    started: float | None = None
    """When the latest attempt began."""
    finished: float | None = None
    attempt: int = 0
    """How often it was begun; raised by each claim."""
    cancel_requested: bool = False
    pictures: tuple[Picture, ...] = ()
    """In the order of requests, then of their batches; filled once it succeeded."""
    failure: Failure | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds: ``queued`` and those of ``engine.Timings`` (the longest of the job's requests), ``encode_png``."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What the pictures' bytes depend on beside the requests."""
    idempotency_key: str | None = None
    label: str | None = None
    webhook: Webhook | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    """The part of its pictures' names that nobody can guess."""
    excused: int = 0
    """Attempts that were ended by a shutdown of the server, which count for nothing."""

    @property
    def done(self) -> bool:
        return self.state in FINISHED

    @property
    def pictures_asked(self) -> int:
        return sum(request.batch_size for request in self.requests)

    @property
    def model(self) -> str:
        """The name of the checkpoint that its first request runs on."""
        name = self.requests[0].model
        assert name is not None  # accept names it
        return name


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a queued job stands."""

    ahead: int
    """Jobs that will probably be begun before it."""
    wait: float | None
    """Estimated seconds until it is done, from recent jobs; None where nothing is known yet."""


def parameters(request: GenerationRequest) -> dict[str, Any]:
    """Return a request's parameters as the JSON of answers, in which a seed is a whole number, however long."""
    return to_json(request) | {"seed": request.seed}
