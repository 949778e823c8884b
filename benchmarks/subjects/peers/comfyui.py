"""ComfyUI as a subject: its own server, started from a checkout and driven through its HTTP API.

It writes a PNG for every picture, which cannot be switched off. So it is compared with an engine that encodes one too.
"""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.subjects.subject import Delivery, GivenUp, NotHere
from engine import GenerationRequest
from engine.formats.comfyui import api_workflow

_PRECISION = {
    "float16": ("--fp16-unet", "--fp16-vae", "--fp16-text-enc"),
    "bfloat16": ("--bf16-unet", "--bf16-vae", "--bf16-text-enc"),
    "float32": ("--force-fp32", "--fp32-vae", "--fp32-text-enc"),
}
_POLL = 0.002  # seconds between two polls of the history by all waiting callers together
_LONGEST_LOOK = 10.0
_LINES = 3


@dataclass(kw_only=True)
class ComfyuiSubject:
    """Runs ComfyUI's server, which takes one prompt after another from its queue."""

    name: str
    checkpoint: Path
    device: str
    dtype: str
    folder: Path
    """The checkout, whose root holds ``main.py``."""
    python: str = sys.executable
    """The interpreter in which ComfyUI's requirements are installed."""
    patience: float = 180.0
    """Most seconds until it answers."""

    concurrent: bool = False
    includes: str = "HTTP, prompt encoding, sampling, VAE, PNG written to disk; one request after another"

    def absent(self) -> str | None:
        there = (self.folder / "main.py").is_file()
        return None if there else f"{self.folder} is not a ComfyUI checkout: it has no main.py"

    def open(self) -> None:
        self._given_up = False
        self._waiting: set[str] = set()
        self._home = tempfile.TemporaryDirectory(prefix="benchmark-comfyui-")
        home = Path(self._home.name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        paths = {"benchmark": {"base_path": str(self.checkpoint.resolve().parent), "checkpoints": "."}}
        (home / "paths.yaml").write_text(json.dumps(paths))  # JSON is YAML
        self._log = home / "log"
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                self._command(home), cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        self._wait_ready()

    def _command(self, home: Path) -> list[str]:
        return [
            self.python,
            "main.py",
            "--listen=127.0.0.1",
            f"--port={self._port}",
            f"--extra-model-paths-config={home / 'paths.yaml'}",
            f"--output-directory={home}",
            f"--temp-directory={home}",
            f"--user-directory={home}",
            "--disable-auto-launch",
            "--disable-all-custom-nodes",
            *_PRECISION[self.dtype],
            *(["--cpu"] if self.device == "cpu" else []),
        ]

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            if self._server.poll() is not None:
                said = " | ".join(self._log.read_text(errors="replace").strip().splitlines()[-_LINES:])
                self.close()
                raise NotHere(f"its server ended with status {self._server.returncode}: {said}")
            with suppress(OSError, ValueError):
                self._stats = self._get("/system_stats")
                return
            time.sleep(0.2)
        self.close()
        raise NotHere(f"its server did not answer within {self.patience:.0f} s")

    def paint(self, request: GenerationRequest) -> Delivery:
        image = self._wait_done(self._submit(request))
        place = {key: image[key] for key in ("filename", "subfolder", "type")}
        with self._request(f"/view?{urllib.parse.urlencode(place)}") as answer:
            return Delivery(np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB")))

    def _submit(self, request: GenerationRequest) -> str:
        graph = api_workflow(request, checkpoint_file=self.checkpoint.name)
        try:
            with self._request("/prompt", json.dumps({"prompt": graph}).encode()) as answer:
                number: str = json.loads(answer.read())["prompt_id"]
                return number
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"ComfyUI refuses the workflow: {error.read(500)!r}") from None

    def _wait_done(self, number: str) -> Mapping[str, str]:
        """Wait for the prompt's first picture and return its entry in the history."""
        self._waiting.add(number)
        try:
            while (entry := self._get(f"/history/{number}").get(number)) is None:
                time.sleep(_POLL * len(self._waiting))  # its server and its sampler share an interpreter
                if self._given_up:
                    raise GivenUp
        finally:
            self._waiting.discard(number)
        pictures = [image for output in entry["outputs"].values() for image in output.get("images", ())]
        if not pictures:
            raise RuntimeError(f"ComfyUI made no picture: {entry.get('status')}")
        first: Mapping[str, str] = pictures[0]
        return first

    def give_up(self) -> None:
        self._given_up = True
        for path, body in (("/queue", {"clear": True}), ("/interrupt", {})):
            with suppress(OSError), self._request(path, json.dumps(body).encode()):
                pass
        deadline = time.monotonic() + _LONGEST_LOOK
        while self._waiting and time.monotonic() < deadline:
            time.sleep(_POLL)
        self._given_up = False

    def settled(self) -> bool:
        return True

    def counts(self) -> Mapping[str, int]:
        return {}

    def record(self) -> Mapping[str, Any]:
        system: Mapping[str, Any] = self._stats.get("system", {})
        return {key: system[key] for key in ("comfyui_version", "pytorch_version", "python_version") if key in system}

    def close(self) -> None:
        self._server.terminate()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.kill()
        self._home.cleanup()

    def _get(self, path: str) -> dict[str, Any]:
        with self._request(path) as answer:
            parsed: dict[str, Any] = json.loads(answer.read())
            return parsed

    def _request(self, path: str, body: bytes | None = None) -> Any:
        return urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", data=body, timeout=60)
