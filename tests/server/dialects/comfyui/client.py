"""A client that does what ComfyUI's own example script does, and the graphs that it posts."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import httpx
import websocket
from PIL import Image

from engine import GenerationRequest
from engine.formats.comfyui import api_workflow
from tests.server.conftest import RunningServer
from tests.server.following import wait_for

Graph = dict[str, Any]

_TITLES = {"3": "KSampler", "4": "Load Checkpoint", "5": "Empty Latent Image", "6": "Prompt", "7": "Negative prompt"}
_PATIENCE = 60


def graph_of(model: str = "instant.safetensors", **values: Any) -> Graph:
    """Return the default workflow with other values, small and short unless ``values`` say otherwise."""
    request = GenerationRequest(**({"width": 64, "height": 64, "steps": 3, "seed": 1} | values))
    graph: Any = api_workflow(request, checkpoint_file=model)
    titles = _TITLES | {"8": "VAE Decode", "9": "Save Image", "10": "CLIP Set Last Layer"}
    for id, node in graph.items():
        node["_meta"] = {"title": titles[id]}
    return graph  # type: ignore[no-any-return]


def hires_graph(second: str = "SaveImage") -> Graph:
    """Return a graph of two samplings, the second twice as large, with an output node each: the last a ``second``."""
    graph = graph_of()
    inputs = dict(graph["3"]["inputs"], latent_image=["11", 0], denoise=0.5, seed=2)
    graph["11"] = {
        "class_type": "LatentUpscaleBy",
        "inputs": {"samples": ["3", 0], "upscale_method": "bislerp", "scale_by": 2},
    }
    graph["12"] = {"class_type": "KSampler", "inputs": inputs}
    graph["13"] = {"class_type": "VAEDecode", "inputs": {"samples": ["12", 0], "vae": ["4", 2]}}
    prefix = {"filename_prefix": "large"}
    graph["14"] = {"class_type": second, "inputs": {"images": ["13", 0], **prefix}}
    return graph


def painted_over(graph: Graph, name: str) -> Graph:
    """Return a graph that begins from a picture that was handed in as ``name``, and paints where its mask says so."""
    graph["20"] = {"class_type": "LoadImage", "inputs": {"image": name}, "_meta": {"title": "Load Image"}}
    graph["21"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["20", 0], "vae": ["4", 2]}}
    graph["22"] = {"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["21", 0], "mask": ["20", 1]}}
    graph["3"]["inputs"] |= {"latent_image": ["22", 0], "denoise": 0.5}
    for id, title in (("21", "VAE Encode"), ("22", "Set Latent Noise Mask")):
        graph[id]["_meta"] = {"title": title}
    return graph


class Comfy:
    """A client with a websocket of its own."""

    def __init__(self, server: RunningServer, client_id: str = "example", *, connect: bool = True) -> None:
        self.url = server.url
        self.client_id = client_id
        self.socket: Any = None
        if connect:
            self.connect()

    def __enter__(self) -> Comfy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.disconnect()

    def connect(self, path: str = "/ws") -> dict[str, Any]:
        """Connect, and return the server's first message."""
        address = f"ws{self.url.removeprefix('http')}{path}?clientId={self.client_id}"
        self.socket = websocket.create_connection(address, timeout=_PATIENCE)
        first: dict[str, Any] = self.receive()
        return first

    def disconnect(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def receive(self) -> Any:
        """Return the next message: bytes, or what its JSON says."""
        message = self.socket.recv()
        return json.loads(message) if isinstance(message, str) else message

    def until_done(self, id: str) -> list[Any]:
        """Return all messages up to the one that says that no node of this prompt is executed any more."""
        return list(self._until_done(id))

    def _until_done(self, id: str) -> Iterator[Any]:
        while True:
            message = self.receive()
            yield message
            if not isinstance(message, bytes) and message["type"] == "executing":
                data = message["data"]
                if data["node"] is None and data["prompt_id"] == id:
                    return

    def until(self, kind: str) -> dict[str, Any]:
        """Return the data of the next message of a kind."""
        while True:
            message = self.receive()
            if not isinstance(message, bytes) and message["type"] == kind:
                data: dict[str, Any] = message["data"]
                return data

    def post(self, graph: Graph, **fields: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/prompt", json={"prompt": graph, "client_id": self.client_id, **fields})

    def queue(self, graph: Graph, **fields: Any) -> str:
        """Post a graph, and return its prompt's id."""
        response = self.post(graph, **fields)
        assert response.status_code == 200, response.text
        answer = response.json()
        assert answer["node_errors"] == {}
        id: str = answer["prompt_id"]
        return id

    def get(self, path: str, **query: Any) -> Any:
        return httpx.get(self.url + path, params=query).raise_for_status().json()

    def send(self, path: str, **body: Any) -> Any:
        return httpx.post(self.url + path, json=body).raise_for_status().json()

    def history(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/history/{id}")
        item: dict[str, Any] = found[id]
        return item

    def pictures(self, id: str) -> dict[str, list[Image.Image]]:
        """Return each output node's pictures, fetched by their names in the history."""
        outputs = self.history(id)["outputs"]
        return {
            node: [opened(httpx.get(f"{self.url}/view", params=picture).raise_for_status().content) for picture in each]
            for node, each in ((node, output["images"]) for node, output in outputs.items())
        }


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def kinds(messages: list[Any]) -> list[str]:
    """Return the messages' types, without those about the queue and about progress."""
    left = ("status", "progress", "progress_state")
    return [each["type"] for each in messages if not isinstance(each, bytes) and each["type"] not in left]


def wait_until_done(comfy: Comfy, *ids: str) -> None:
    """Return once the prompts are in the history."""
    wait_for(lambda: all(comfy.get(f"/history/{id}") for id in ids))


def blocked(server: RunningServer) -> tuple[Comfy, str]:
    """Yield a client and a prompt of its own that runs until it is stopped."""
    comfy = Comfy(server, connect=False)
    id = comfy.queue(graph_of(steps=1000))
    wait_for(lambda: len(comfy.get("/queue")["queue_running"]) == 1)
    return comfy, id
