"""The Hugging Face dialect as the server sees it."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from server.dialects.dialect import Dialect
from server.dialects.huggingface.inference import create_router
from server.problems import Problem


def owns(path: str) -> bool:
    """Own ``/hf`` and all paths under it."""
    return path == "/hf" or path.startswith("/hf/")


def error_response(problem: Problem) -> JSONResponse:
    """Write ``problem`` as Hugging Face's clients read it."""
    return JSONResponse({"error": problem.detail}, problem.status)


DIALECT = Dialect(name="huggingface", create_router=create_router, owns=owns, error_response=error_response)
