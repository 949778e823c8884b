"""OpenAI's Images API under ``/v1``: ``images/generations``, streamed too, and ``models``."""

from server.dialects.openai.dialect import DIALECT

__all__ = ["DIALECT"]
