"""Loads textual-inversion embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.checkpoint.embedding_file import embedding_size, load_embedding
from engine.models.hashes import embedding_hash
from engine.running.residents.registry import resident
from engine.running.residents.tools import Tools
from engine.text import embeddings
from engine.workflow.text import Embedding

_BYTES = 4


@dataclass(frozen=True, eq=False)
class ResidentEmbedding(embeddings.Embedding):
    """An embedding, and what a picture's record says of it."""

    record: dict[str, Any] = field(default_factory=dict)


@resident(Embedding, size=lambda node, tools: embedding_size(Path(node.name)) * _BYTES)
def load(node: Embedding, tools: Tools) -> ResidentEmbedding:
    """Return the vectors, on the CPU. Raises ``BrokenCheckpoint``."""
    path = Path(node.name)
    record = {"file": path.name, "hash": embedding_hash(path)}
    return ResidentEmbedding(load_embedding(path), record={"embeddings": [record]})
