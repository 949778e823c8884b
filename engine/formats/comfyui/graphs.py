"""A ComfyUI graph, in API or editor form ⇄ ``GenerationRequest``.

Knows the forms in which graphs arrive and the one graph that is written: the mission's workflow with other values.
Knows no tensors and no models folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.errors import BadRequest
from engine.formats.comfyui.editor import api_from_editor
from engine.formats.comfyui.layout import editor_from_api
from engine.formats.comfyui.nodes import shown
from engine.formats.comfyui.reader import LOWEST_CLIP_LAYER, PARAMETER_INPUTS, request_from_api
from engine.formats.json_text import read_json
from engine.request import GenerationRequest

_IDS = {"sampler": "3", "loader": "4", "latent": "5", "positive": "6", "negative": "7", "layer": "10"}
_CLASSES = {
    "3": "KSampler",
    "4": "CheckpointLoaderSimple",
    "5": "EmptyLatentImage",
    "6": "CLIPTextEncode",
    "7": "CLIPTextEncode",
    "8": "VAEDecode",
    "9": "SaveImage",
    "10": "CLIPSetLastLayer",
}


_LARGEST_FILE = 32 * 2**20


def read_workflow(path: Path | str) -> GenerationRequest:
    """The request that a workflow file stands for. Raises ``BadRequest`` as ``request_from_workflow`` does, and for a
    file that cannot be read.
    """
    try:
        if not Path(path).is_file() or Path(path).stat().st_size > _LARGEST_FILE:
            raise BadRequest("workflow", str(path), f"a file of at most {_LARGEST_FILE >> 20} MiB")
        text = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise BadRequest("workflow", str(path), f"a file that can be read ({error})") from None
    return request_from_workflow(text)


def request_from_workflow(graph: object) -> GenerationRequest:
    """The request that a ComfyUI graph stands for.

    ``graph`` is JSON text or what it parses to: the API form, the editor form, or the API form wrapped as it is posted
    to ``/prompt``. The seed is taken as saved, whatever is to become of it afterwards. ``model`` is the loader's
    ``ckpt_name`` as it stands: a file's name in the models folder. As in ComfyUI, only what the output node depends on
    counts: everything else may be unknown or broken.

    Raises ``BadRequest``, whose field names the place (``workflow node 3 (KSampler) steps``), for anything that this
    project does not have: another class of node, another wiring, two different pictures, a value out of range.
    """
    if isinstance(graph, str | bytes | bytearray):
        graph = parse_json("workflow", graph)
    if not isinstance(graph, Mapping) or not graph:
        raise BadRequest("workflow", graph, "a ComfyUI graph: a JSON object with nodes")
    wrapped = graph.get("prompt")
    if isinstance(graph.get("nodes"), list):
        return request_from_api(api_from_editor(graph))
    if isinstance(wrapped, dict) and "class_type" not in wrapped:
        return request_from_api(wrapped)
    return request_from_api(graph)


def parse_json(field: str, text: str | bytes | bytearray) -> object:
    """``text`` parsed. Raises ``BadRequest`` on ``field`` for what ``read_json`` does not read."""
    try:
        return read_json(text)
    except ValueError as error:
        raise BadRequest(field, text, f"JSON ({shown(str(error))})") from None


def api_workflow(request: GenerationRequest, *, checkpoint_file: str) -> dict[str, object]:
    """The graph in API form that makes ComfyUI compute ``request``: the mission's workflow, with these values.

    ``checkpoint_file`` is the file's name in the models folder, which a request's ``model`` may leave out or shorten;
    reading the graph again gives ``request`` with ``model=checkpoint_file``. Whole numbers are written without a
    point. Raises ``BadRequest`` for a request without a seed, and for a ``clip_skip`` that ComfyUI does not take.
    """
    if request.seed is None:
        raise BadRequest("seed", None, "a seed that has been drawn: request.with_seed()")
    if -request.clip_skip < LOWEST_CLIP_LAYER:
        raise BadRequest("clip_skip", request.clip_skip, f"at most {-LOWEST_CLIP_LAYER}, as in ComfyUI")
    clip: list[object] = ["4", 1] if request.clip_skip == 1 else ["10", 0]
    graph: dict[str, dict[str, object]] = {
        "3": {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]},
        "4": {},
        "5": {},
        "6": {"clip": clip},
        "7": {"clip": clip},
        "8": {"samples": ["3", 0], "vae": ["4", 2]},
        "9": {"filename_prefix": "ComfyUI", "images": ["8", 0]},
    }
    if request.clip_skip > 1:
        graph["10"] = {"clip": ["4", 1]}
    written = {"model": checkpoint_file, "clip_skip": -request.clip_skip}
    for parameter, (part, name) in PARAMETER_INPUTS.items():
        if _IDS[part] in graph:
            value = written.get(parameter, getattr(request, parameter))
            graph[_IDS[part]][name] = int(value) if isinstance(value, float) and value.is_integer() else value
    return {node: {"class_type": _CLASSES[node], "inputs": inputs} for node, inputs in graph.items()}


def editor_workflow(request: GenerationRequest, *, checkpoint_file: str) -> dict[str, object]:
    """The same graph as ``api_workflow`` in editor form: what opens when a picture is dropped on the ComfyUI editor.

    The editor, being JavaScript, rounds a seed above 2^53; the API form and this project do not. Raises as
    ``api_workflow`` does.
    """
    return editor_from_api(api_workflow(request, checkpoint_file=checkpoint_file))
