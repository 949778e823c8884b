"""Stands in for ComfyUI's ``main.py``: answers its API with grey pictures that hold the seed's last digit."""

from __future__ import annotations

import argparse
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--extra-model-paths-config", type=Path)
options, others = parser.parse_known_args()
print("asked for", others, flush=True)
known = Path(json.loads(options.extra_model_paths_config.read_text())["benchmark"]["base_path"])
history: dict[str, Any] = {}
door = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/view":
            seed = int(parse_qs(url.query)["filename"][0])
            file = io.BytesIO()
            Image.new("RGB", (16, 16), (seed % 10, 128, 128)).save(file, "PNG")
            self.answer(file.getvalue())
        elif url.path.startswith("/history/"):
            number = url.path.rpartition("/")[2]
            self.answer({number: history[number]} if number in history else {})
        else:
            self.answer({"system": {"comfyui_version": "0.0.1", "argv": others}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/prompt":
            return self.answer({})
        graph = body["prompt"]
        name = graph["4"]["inputs"]["ckpt_name"]
        if not (known / name).is_file():
            return self.answer({"error": f"no {name}"}, 400)
        with door:
            number = str(len(history) + 1)
            if graph["6"]["inputs"]["text"] != "never":
                image = {"filename": str(graph["3"]["inputs"]["seed"]), "subfolder": "", "type": "output"}
                history[number] = {"outputs": {"9": {"images": [image]}}}
        return self.answer({"prompt_id": number})

    def answer(self, body: Any, status: int = 200) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
