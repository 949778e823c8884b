"""What becomes of a job that a call waited for: its pictures, or the problem to answer with. Knows no dialect."""

from __future__ import annotations

from server.job import Job
from server.problems import Problem, problem_of_failure
from server.web.services import Services


def ensure_succeeded(job: Job) -> None:
    """Raise a ``Problem`` for a job that failed, was cancelled, or has not ended because the server shuts down."""
    if job.state == "succeeded":
        return
    headers = {"X-Job-Id": job.id}
    if job.failure is not None:
        problem = problem_of_failure(job.failure)
        problem.headers = headers
        raise problem
    if job.state == "cancelled":
        detail = f"job {job.id} was cancelled"
        raise Problem(status=409, kind="cancelled", title="Cancelled", detail=detail, headers=headers)
    detail = f"job {job.id} is {job.state}; the server no longer waits for it, and carries it out all the same"
    raise Problem(status=503, kind="shutting_down", title="Shutting down", detail=detail, headers=headers)


async def read_picture(services: Services, name: str) -> bytes:
    """Read a picture's PNG. Raises a ``Problem``, 410, where it has been removed, and ``NotRead``."""
    try:
        return await services.outputs.read(name)
    except KeyError:
        raise Problem(status=410, kind="gone", title="Gone", detail=f"the picture {name} is no longer kept") from None
