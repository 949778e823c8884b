"""The models folder: what lies in it, and how checkpoints come into it; ``python -m engine.models`` is its command."""
