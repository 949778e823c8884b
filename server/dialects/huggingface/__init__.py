"""Hugging Face's inference API for text to image: ``POST /hf`` answers with the picture itself."""

from server.dialects.huggingface.dialect import DIALECT

__all__ = ["DIALECT"]
