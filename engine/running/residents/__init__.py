"""How weights become resident: one function for each class of node that stands for tensors from files."""

from engine.running.residents import checkpoints, upscalers  # noqa: F401 – they register their functions
from engine.running.residents.registry import Resident, resident, resident_kind
from engine.running.residents.tools import Tools

__all__ = ["Resident", "Tools", "resident", "resident_kind"]
