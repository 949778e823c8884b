"""Writes a job as ComfyUI does: in the queue, in the history, and under ``/api/jobs``. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.dialects.comfyui.graph import Course
from server.dialects.comfyui.names import name_of
from server.job import Failure, Job, Picture, State

DIALECT = frozenset({"comfyui"})
"""The dialects whose jobs are prompts, for searches."""

STATUSES: Mapping[str, State] = {
    "pending": "queued",
    "in_progress": "running",
    "completed": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}
"""ComfyUI's word for each state."""
_STATUS_OF = {state: status for status, state in STATUSES.items()}

MOST_BYTES = 16 * 2**20
"""About how many bytes of graphs and ``extra_data`` one answer holds."""

_FAILED_AT = {"unknown_checkpoint": "loading", "broken_checkpoint": "loading"}
"""The stage of a job when it failed, for failures that can only come from there; the others come from the sampler."""

Message = tuple[str, dict[str, Any]]
"""A websocket message's type and data."""


def course_of(job: Job) -> Course:
    """Return the course of a prompt's nodes."""
    return Course(job.extra["prompt"], tuple(job.extra["outputs"]))


def client_id_of(job: Job) -> str | None:
    """Return the id of the client that gets the job's messages; None if there is none."""
    id: str | None = job.extra["extra_data"].get("client_id")
    return id


def number_of(job: Job) -> float:
    """Return the prompt's number: its own, or that of its acceptance; below 0 if it was put in front."""
    number: float | None = job.extra["number"]
    if number is not None:
        return number
    return -job.sequence if job.extra["front"] else job.sequence


def queue_item(job: Job) -> list[Any]:
    """Return ``[number, id, graph, extra_data, outputs]``; without the graph and ``extra_data`` if they were not
    read."""
    extra_data = {**job.extra.get("extra_data", {}), "create_time": milliseconds(job.created)}
    return [number_of(job), job.id, job.extra.get("prompt", {}), extra_data, job.extra["outputs"]]


def in_history(job: Job) -> bool:
    """Return whether ComfyUI would remember the job: it is done, and was not cancelled before it started."""
    return job.done and (job.state != "cancelled" or job.started is not None)


def history_item(job: Job) -> dict[str, Any]:
    """Return what ``/history`` says about a job that is done."""
    course = course_of(job)
    meta = {
        output: {"node_id": output, "display_node": output, "parent_node": None, "real_node_id": output}
        for output in course.outputs
    }
    return {
        "prompt": queue_item(job),
        "outputs": outputs(job),
        "status": {
            "status_str": "success" if job.state == "succeeded" else "error",
            "completed": job.state == "succeeded",
            "messages": [list(message) for message in messages(job, course)],
        },
        "meta": meta if job.state == "succeeded" else {},
    }


def outputs(job: Job) -> dict[str, Any]:
    """Return each output node's pictures, by its id."""
    if job.state != "succeeded":
        return {}
    course = course_of(job)
    shown = {id: output(job, course, id, pictures_of(job, id)) for id in course.outputs}
    return {id: each for id, each in shown.items() if each is not None}


def output(job: Job, course: Course, node: str, pictures: Sequence[Picture]) -> dict[str, Any] | None:
    """Return what an output node shows of its pictures. Those of a ``PreviewImage`` are called temporary;
    ``SaveImageWebsocket`` shows none, which is None."""
    kind = {"SaveImage": "output", "PreviewImage": "temp"}.get(course.class_of(node))
    prefixes: Mapping[str, str] = job.extra.get("names", {})
    return None if kind is None else {"images": [_image(picture, kind, prefixes.get(node)) for picture in pictures]}


def pictures_of(job: Job, node: str) -> list[Picture]:
    """Return the pictures of an output node. In older jobs pictures name no node, so that every output shows all of
    them."""
    own = [picture for picture in job.pictures if picture.node == node]
    known = set(job.extra["outputs"])
    return own if own or any(picture.node in known for picture in job.pictures) else list(job.pictures)


def _image(picture: Picture, kind: str, prefix: str | None) -> dict[str, str]:
    filename, subfolder = name_of(picture, prefix)
    return {"filename": filename, "subfolder": subfolder, "type": kind}


def messages(job: Job, course: Course) -> list[Message]:
    """Return the messages about a finished job, as the history keeps them."""
    return [*beginning(job), ending(job, course)]


def beginning(job: Job, cached: Sequence[str] = ()) -> list[Message]:
    """Return the messages that a job starts with. ``cached``: the nodes that have nothing to do; they are not kept."""
    stamp = milliseconds(job.started or job.created)
    return [
        ("execution_start", {"prompt_id": job.id, "timestamp": stamp}),
        ("execution_cached", {"nodes": list(cached), "prompt_id": job.id, "timestamp": stamp}),
    ]


def ending(job: Job, course: Course, place: int | None = None) -> Message:
    """Return the message that a job ends with. ``place``: where in the course it was, if that is known."""
    data: dict[str, Any] = {"prompt_id": job.id, "timestamp": milliseconds(job.finished or job.created)}
    if job.state == "succeeded":
        return "execution_success", data
    failure = job.failure
    at = course.input_at(failure.field) if failure is not None and failure.field is not None else None
    if at is not None and at[0] in course.order:
        place = course.order.index(at[0])
    if place is None:
        place = course.place(_stage_of(failure))
    node = course.order[place]
    data |= {"node_id": node, "node_type": course.class_of(node), "executed": list(course.order[:place])}
    if job.state == "cancelled":
        return "execution_interrupted", data
    assert failure is not None  # what failed says why
    data |= {
        "exception_type": failure.kind,
        "exception_message": failure.message,
        "traceback": [],
        "current_inputs": {} if at is None else course.value_at(*at),
        "current_outputs": [],
    }
    return "execution_error", data


def job_item(job: Job, *, detailed: bool = False) -> dict[str, Any]:
    """Return what ``/api/jobs`` says about a job; with ``detailed``, what ``/api/jobs/{id}`` says."""
    shown = outputs(job)
    pictures = [
        {**picture, "nodeId": node, "mediaType": "images"} for node, each in shown.items() for picture in each["images"]
    ]
    item: dict[str, Any] = {
        "id": job.id,
        "status": _STATUS_OF[job.state],
        "priority": number_of(job),
        "create_time": milliseconds(job.created),
        "execution_start_time": milliseconds(job.started) if job.started else None,
        "execution_end_time": milliseconds(job.finished) if job.finished and job.started else None,
        "execution_error": ending(job, course_of(job))[1] if job.state == "failed" else None,
        "outputs_count": len(pictures),
        "preview_output": next((each for each in pictures if each["type"] == "output"), next(iter(pictures), None)),
        "workflow_id": job.label,
    }
    if detailed:
        done = in_history(job)
        item |= {
            "outputs": shown,
            "execution_status": history_item(job)["status"] if done else None,
            "workflow": {"prompt": job.extra["prompt"], "extra_data": queue_item(job)[3]},
        }
    return {name: value for name, value in item.items() if value is not None}


def milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _stage_of(failure: Failure | None) -> Any:
    return _FAILED_AT.get(failure.kind, "sampling") if failure else "sampling"
