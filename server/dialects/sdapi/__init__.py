"""AUTOMATIC1111's API, ``/sdapi/v1``: text to picture, progress, models, options."""

from server.dialects.sdapi.dialect import DIALECT

__all__ = ["DIALECT"]
