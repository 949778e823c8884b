"""A job as JSON, and the schemas of all answers of the native API. This module knows no route."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from engine import GenerationRequest
from engine.parameters import MAX_SEED, schema_of
from server.dialects.native.examples import JOB, PROBLEM
from server.job import Job, Picture, Place, State, parameters
from server.queue.events import Event


def _parameters_schema() -> dict[str, Any]:
    described = schema_of(GenerationRequest)
    for each in described["properties"].values():
        del each["default"]
    seed = {"type": "integer", "minimum": 0, "maximum": MAX_SEED}
    properties = described["properties"] | {"seed": {**seed, "description": "more digits than JavaScript holds"}}
    text = "Every parameter of a request, as it is or was carried out."
    return {
        **described,
        "title": "Parameters",
        "description": text,
        "properties": properties,
        "required": [*properties],
    }


Parameters = Annotated[dict[str, Any], WithJsonSchema(_parameters_schema())]


class PictureAnswer(BaseModel):
    """A picture."""

    url: str = Field(description="works without a key; it cannot be guessed")
    width: int
    height: int
    seed: int = Field(description="0 to 2^64-1: more digits than a JavaScript number holds")
    request: int = Field(description="which of the job's requests or workflows made it, from 0")
    index: int = Field(description="its place in its output's batch, from 0")
    node: str = Field(description="the id of the workflow's output node that it is from")
    base64: str | None = Field(None, description="the PNG, where response_format is base64")
    path: str | None = Field(None, description="its file on the server's disk, where response_format is path")


class FailureAnswer(BaseModel):
    """Why a job failed."""

    kind: str
    detail: str
    field: str | None = Field(description="the parameter at fault, where there is one")


class PlaceAnswer(BaseModel):
    """Where a queued job stands."""

    ahead: int = Field(description="jobs that will probably start before it")
    wait: float | None = Field(description="estimated seconds until it is done")


class JobAnswer(BaseModel):
    """A job and its pictures or its failure."""

    model_config = ConfigDict(json_schema_extra={"examples": [JOB]})

    id: str
    job_id: str = Field(description="the same as id")
    state: State
    url: str = Field(description="of this job")
    events_url: str
    output_url: str | None = Field(description="of the first picture, once it is there")
    images: list[PictureAnswer] = Field(description="those that are done; none of a job that failed or was cancelled")
    parameters: Parameters | None = Field(
        description="of the first request; null for a workflow that is more than one request"
    )
    seed: int = Field(description="of the first request; of a graph, the seed of its first output's noise")
    count: int = Field(description="how many requests it has; number i has the seed + i")
    model: str
    dialect: str
    priority: int
    created: float = Field(description="Unix time, as are started and finished")
    started: float | None
    finished: float | None
    attempt: int
    cancel_requested: bool
    interrupted: bool = Field(description="whether it was asked to end with the pictures that are done")
    deleted: bool = Field(description="whether this answer is the last of it: it was deleted, with its pictures")
    place: PlaceAnswer | None = Field(description="while it is queued or running")
    stage: Literal["loading", "waiting", "sampling", "decoding"] | None
    step: int | None = Field(description="steps done by the request that reported last")
    steps: int | None
    progress: float = Field(description="the share that is done, 0 to 1")
    timings: dict[str, float] = Field(description="seconds by stage")
    error: FailureAnswer | None


class JobsAnswer(BaseModel):
    jobs: list[JobAnswer]
    total: int = Field(description="the number of jobs that match, without limit and offset")
    counts: dict[str, int] = Field(description="the number of jobs by state, whatever the query")


class ParametersAnswer(BaseModel):
    source: Literal["workflow", "picture"]
    parameters: dict[str, Any] | None = Field(
        description="can be sent to generate as they are; null for a workflow that is more than one request"
    )
    workflow: dict[str, Any] | None = Field(
        description="the file's graph in ComfyUI's API form, which can be sent to workflow and to /prompt as it is; "
        "null for a picture that has AUTOMATIC1111's line alone"
    )


class InputAnswer(BaseModel):
    """A picture that was handed in."""

    id: str = Field(description="the SHA-256 of its file, which image, mask and controls take")
    url: str
    width: int
    height: int
    frames: int = Field(description="1, or the frames of an animated picture")
    alpha: bool = Field(description="whether it has transparency")
    bytes: int = Field(description="the size of its file")


class CheckpointAnswer(BaseModel):
    name: str
    file: str
    size: int = Field(description="bytes")
    short_hash: str | None
    sha256: str | None
    resident: bool = Field(description="whether it is loaded")
    loading: bool
    default: bool = Field(description="whether it serves requests that name none")


class FileAnswer(BaseModel):
    name: str = Field(description="what loras, vae, controls, upscale and prompts call it: its path below its folder")
    size: int = Field(description="bytes")


class CheckpointsAnswer(BaseModel):
    models: list[CheckpointAnswer] | list[FileAnswer] = Field(description="of the kind that was asked for")


class NamesAnswer(BaseModel):
    names: list[str]
    default: str


class StatusAnswer(BaseModel):
    version: str
    ready: bool
    counts: dict[str, int] = Field(description="jobs by state")
    dialects: list[str]
    backend: dict[str, Any] = Field(description="device, dtype, batching, memory …")


class MistakeAnswer(BaseModel):
    """One value of a call that is not allowed."""

    field: str
    value: Any = Field(description="the value; as text where it is long or a number that JavaScript does not hold")
    allowed: str
    detail: str


class ProblemAnswer(BaseModel):
    """An error, in the form of RFC 9457."""

    model_config = ConfigDict(json_schema_extra={"examples": [PROBLEM]})

    type: str
    title: str
    status: int
    detail: str = Field(description="names the parameter, its value and what is allowed")
    kind: str
    field: str | None = Field(description="the first parameter at fault")
    errors: list[MistakeAnswer] = Field(description="all parameters at fault")


def job_json(job: Job, base_url: str, place: Place | None = None, latest: Event | None = None) -> dict[str, Any]:
    """Return the JSON of a ``JobAnswer``, with absolute URLs under ``base_url``."""
    images = [image_json(picture, base_url) for picture in job.pictures]
    url, failure, request = f"{base_url}/api/v1/jobs/{job.id}", job.failure, job.tasks[0].request
    return {
        "id": job.id,
        "job_id": job.id,
        "state": job.state,
        "url": url,
        "events_url": f"{url}/events",
        "output_url": images[0]["url"] if images else None,
        "images": images,
        "parameters": None if request is None else parameters(request),
        "seed": job.tasks[0].seed(),
        "count": len(job.tasks),
        "model": job.model,
        "dialect": job.dialect,
        "priority": job.priority,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        "attempt": job.attempt,
        "cancel_requested": job.cancel_requested,
        "interrupted": job.interrupted,
        "deleted": False,
        "place": dataclasses.asdict(place) if place else None,
        "stage": latest.stage if latest else None,
        "step": latest.step if latest else None,
        "steps": latest.steps if latest else None,
        "progress": 1.0 if job.state == "succeeded" else latest.progress if latest else 0.0,
        "timings": dict(job.timings),
        "error": {"kind": failure.kind, "detail": failure.message, "field": failure.field} if failure else None,
    }


def image_json(picture: Picture, base_url: str) -> dict[str, Any]:
    """Return the JSON of a ``PictureAnswer``, without its content."""
    shown = dict(vars(picture))
    name = shown.pop("name")
    return {"url": f"{base_url}/api/v1/images/{name}", **shown, "base64": None, "path": None}
