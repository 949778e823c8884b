"""The models folders: which files lie in them, and how new ones come in; ``python -m engine.models`` is the command."""
