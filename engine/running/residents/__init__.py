"""How weights become resident: one function for each class of node that stands for tensors from files."""

from engine.running.residents import adapters, checkpoints, controls, embeddings, merges, upscalers, vae
from engine.running.residents.registry import Resident, resident, resident_kind
from engine.running.residents.tools import Tools

__all__ = [
    "Resident",
    "Tools",
    "adapters",
    "checkpoints",
    "controls",
    "embeddings",
    "merges",
    "resident",
    "resident_kind",
    "upscalers",
    "vae",
]
