"""ComfyUI's graphs, read and written."""

from engine.formats.comfyui.editing.layout import editor_of
from engine.formats.comfyui.flat import api_workflow, editor_workflow, request_from_workflow
from engine.formats.comfyui.forms import parse_json, read_workflow, text_of_file
from engine.formats.comfyui.replacing import read_replaced
from engine.formats.comfyui.to_request import request_of
from engine.formats.comfyui.writer import place_of, write_workflow

__all__ = [
    "api_workflow",
    "editor_of",
    "editor_workflow",
    "parse_json",
    "place_of",
    "read_replaced",
    "read_workflow",
    "request_from_workflow",
    "request_of",
    "text_of_file",
    "write_workflow",
]
