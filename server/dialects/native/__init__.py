"""The native API under ``/api/v1``: every parameter of ``GenerationRequest`` by its own name, jobs and their events."""

from server.dialects.native.dialect import DIALECT

__all__ = ["DIALECT"]
