"""OpenAI's Images API under ``/v1``: generations, edits and variations, answered whole or streamed, and models."""

from server.dialects.openai.dialect import DIALECT

__all__ = ["DIALECT"]
