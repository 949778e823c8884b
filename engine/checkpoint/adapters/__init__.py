"""LoRA files and their kin: which layers they change, and how."""

from engine.checkpoint.adapters.adapter import Adapter, open_adapter

__all__ = ["Adapter", "open_adapter"]
