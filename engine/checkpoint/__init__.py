"""Checkpoint files, read and loaded."""

from engine.checkpoint.checkpoint import Checkpoint, inspect_checkpoint, load_checkpoint
from engine.checkpoint.contents import CheckpointFacts

__all__ = ["Checkpoint", "CheckpointFacts", "inspect_checkpoint", "load_checkpoint"]
