"""The forms in which ComfyUI graphs arrive: JSON text or what it parses to, API form or editor form, or as posted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.errors import BadRequest
from engine.formats.comfyui.editing.editor import api_from_editor
from engine.formats.comfyui.places import shown
from engine.formats.comfyui.reader import workflow_of_api
from engine.formats.json_text import read_json
from engine.workflow.workflow import Workflow

_LARGEST_FILE = 32 * 2**20


def read_workflow(graph: object) -> Workflow:
    """Return the workflow of a ComfyUI graph.

    ``graph`` is JSON text or what it parses to: the API form, the editor form, or the API form wrapped as it is posted
    to ``/prompt``. Seeds are taken as saved, whatever is to become of them afterwards. As in ComfyUI, only what output
    nodes depend on counts, and inputs that a class does not have are ignored.

    Raises ``BadRequest``, whose field names the place (``workflow node 3 (KSampler) steps``), for a class that is
    unknown, a value that is not allowed, a placeholder that was not filled in, and a link that leads nowhere, to
    another type, or in a circle.
    """
    return workflow_of_api(api_form(graph))


def api_form(graph: object) -> Mapping[str, object]:
    """Return a graph in API form, whichever form it has. Raises ``BadRequest`` for what is no graph."""
    if isinstance(graph, str | bytes | bytearray):
        graph = parse_json("workflow", graph)
    if not isinstance(graph, Mapping) or not graph:
        raise BadRequest("workflow", graph, "a ComfyUI graph: a JSON object with nodes")
    wrapped = graph.get("prompt")
    if isinstance(graph.get("nodes"), list):
        return api_from_editor(graph)
    if isinstance(wrapped, dict) and "class_type" not in wrapped:
        return wrapped
    return graph


def text_of_file(path: Path | str) -> bytes:
    """Return what a workflow's file holds. Raises ``BadRequest`` for a file that cannot be read."""
    try:
        if not Path(path).is_file() or Path(path).stat().st_size > _LARGEST_FILE:
            raise BadRequest("workflow", str(path), f"a file of at most {_LARGEST_FILE >> 20} MiB")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise BadRequest("workflow", str(path), f"a file that can be read ({error})") from None


def parse_json(field: str, text: str | bytes | bytearray) -> object:
    """Return ``text`` parsed. Raises ``BadRequest`` on ``field`` for what ``read_json`` does not read."""
    try:
        return read_json(text)
    except ValueError as error:
        raise BadRequest(field, text, f"JSON ({shown(str(error))})") from None
