"""ComfyUI's graphs, read and written."""

from engine.formats.comfyui.graphs import (
    api_workflow,
    editor_workflow,
    parse_json,
    read_workflow,
    request_from_workflow,
)

__all__ = [
    "api_workflow",
    "editor_workflow",
    "parse_json",
    "read_workflow",
    "request_from_workflow",
]
