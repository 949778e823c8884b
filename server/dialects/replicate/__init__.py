"""Replicate's API under ``/v1``: predictions, with webhooks and streams, and the models that they run on."""

from server.dialects.replicate.dialect import DIALECT

__all__ = ["DIALECT"]
