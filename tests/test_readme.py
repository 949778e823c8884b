"""Every README says what is so: its code blocks run, its settings, routes and links exist.

Shell blocks run in bash, with stand-ins for ``python``, ``make``, ``curl`` and what would change the machine
(``tests/readme/commands.py`` says what becomes of each command). HTTP goes to a server with the instant backend.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub.constants
import pytest
import websocket
from PIL import Image

import engine
from engine.formats.comfyui import api_workflow
from server.backends.instant import InstantBackend
from server.settings import PREFIX, Settings
from tests.adapters import write_adapter
from tests.checkpoints import write_vae
from tests.controls import write_controlnet
from tests.readme.blocks import READMES, ROOT, Block, blocks_of, links_in, routes_in, settings_in
from tests.server.conftest import RunningServer, running
from tests.server.dialects.comfyui.client import graph_of
from tests.server.queues import settings_in as server_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LANGUAGES = {"sh", "python", "json", "toml", "text"}
"""``text`` is for what no program reads: diagrams and output."""
MOST_PICTURES = 5
"""As many as the command lines on the front page make."""
HOSTS = re.compile(r"(?:localhost|127\.0\.0\.1|\bhost|gpu-box):8000")
STAND_INS = {
    "python": f'exec "{sys.executable}" "{ROOT}/tests/readme/commands.py" "$@"',
    "make": f'exec {shutil.which("make")} --dry-run --directory "{ROOT}" "$@" > /dev/null',
    "curl": f'exec {shutil.which("curl")} --fail --max-time 60 "$@"',
    "git": '[ "$1" = clone ] || [ "$1" = worktree ]',
    "pip": '[ "$1" = install ]',
}
"""What each command does in a shell block; those that install or fetch are only recognised."""


def blocks(*languages: str) -> list[Any]:
    """The blocks in these languages. Slow are those with more pictures than the front page's, and all but the first of
    a file's that start programs."""
    found, started = [], set[str]()
    for block in (block for file in READMES for block in blocks_of(file) if block.language in languages):
        pictures, starts = block.text.count("-m engine.generate"), "python -m " in block.text
        slow = pictures > MOST_PICTURES or (starts and block.file in started)
        found.append(pytest.param(block, id=block.place, marks=[pytest.mark.slow] if slow else []))
        started |= {block.file} if starts and not slow else set()
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    backend = InstantBackend(names=("starter", "AWPainting_v1.3"))
    with running(server_settings(tmp_path_factory.mktemp("server")), backend) as server:
        yield server


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH with the stand-ins."""
    folder = tmp_path_factory.mktemp("bin")
    for name, script in STAND_INS.items():
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(stat.S_IRWXU)
    return folder


@pytest.fixture
def place(tmp_path: Path, tiny_checkpoint: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a reader works in, with the files that blocks name, and a home with a checkpoint to add."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(bin_folder)
    models = tmp_path / "models"
    for folder in (models, tmp_path / "Downloads"):
        folder.mkdir()
    for path in ("models/starter", "models/AWPainting_v1.3", "Downloads/any-sd15"):
        (tmp_path / f"{path}.safetensors").symlink_to(tiny_checkpoint)
    for name in ("ink", "chalk", "starter-ink"):
        write_adapter(models / f"{name}.safetensors")
    write_controlnet(models / "edges.safetensors")
    write_vae(models / "soft.safetensors", tiny_checkpoint)
    for name in ("photo", "mask", "drawing", "pictures/photo"):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), "teal").save(tmp_path / f"{name}.png")
    graph = api_workflow(engine.GenerationRequest(), checkpoint_file="starter.safetensors")
    (tmp_path / "workflow.json").write_text(json.dumps(graph))
    (tmp_path / "workflow_api.json").write_text(json.dumps(graph_of("starter.safetensors")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("README_MODELS", str(models))
    return tmp_path


def test_the_front_page_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 10 * 1024


@pytest.mark.parametrize("file", READMES)
def test_blocks_name_their_language(file: str) -> None:
    """An indented block names none, so every block is fenced."""
    assert [block.place for block in blocks_of(file) if block.language not in LANGUAGES] == []


@pytest.mark.skipif(not all(map(shutil.which, ("bash", "curl", "make"))), reason="needs bash, curl and make")
@pytest.mark.parametrize("block", blocks("sh"))
def test_shell_blocks_run(block: Block, place: Path, bin_folder: Path, server: RunningServer) -> None:
    if "--repeat" in block.text:
        _make_picture(place / "picture.png", server)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", _with_url(block.text, server)],
        env=environment | {"PATH": f"{bin_folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{block.place}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    for name in re.findall(r"curl .*? -o (\S+\.png)", block.text):
        assert (place / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("file", [file for file in READMES if any(b.language == "python" for b in blocks_of(file))])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_python_blocks_run(
    file: str, place: Path, tiny_checkpoint: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, each with the names of those before it; pictures are small and of a tiny checkpoint."""

    def config(**values: Any) -> engine.EngineConfig:
        small = {"checkpoint": str(tiny_checkpoint), "models_folders": (place / "models",), "device": "cpu"}
        return config_class(**(values | small))

    def request(**values: Any) -> engine.GenerationRequest:
        return request_class(**(values | {"width": 64, "height": 64, "steps": 2, "model": None}))

    config_class, request_class = engine.EngineConfig, engine.GenerationRequest
    monkeypatch.setattr(engine, "EngineConfig", config)
    monkeypatch.setattr(engine, "GenerationRequest", request)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # its client then asks our server
    names: dict[str, Any] = {"__name__": "readme"}
    for block in blocks_of(file):
        if block.language == "python":
            source = "\n" * (block.line - 1) + _with_url(block.text, server)  # so that errors name the README's line
            exec(compile(source, str(ROOT / file), "exec"), names)
    names.clear()
    gc.collect()  # what a block left open warns here, not in another test
    for name in re.findall(r'(?:save|open)\("(\w+\.png)"', (ROOT / file).read_text(encoding="utf-8")):
        assert (place / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("block", blocks("json", "toml"))
def test_data_blocks_can_be_read(block: Block) -> None:
    assert json.loads(block.text) if block.language == "json" else tomllib.loads(block.text)


@pytest.mark.parametrize("file", READMES)
def test_settings_exist(file: str) -> None:
    assert settings_in(file) <= {PREFIX + name.upper() for name in Settings.model_fields}


@pytest.mark.skipif("server/README.md" not in READMES, reason="there is no server/README.md")
def test_every_setting_is_described() -> None:
    assert {PREFIX + name.upper() for name in Settings.model_fields} <= settings_in("server/README.md")


@pytest.mark.parametrize("file", READMES)
def test_routes_exist(file: str, server: RunningServer) -> None:
    document = httpx.get(f"{server.url}/openapi.json", timeout=60).json()["paths"]
    known = {re.sub(r"{\w+}", "{}", path): {method.upper() for method in methods} for path, methods in document.items()}
    missing = [route for route in sorted(routes_in(file), key=str) if not _exists(*route, known, server)]
    assert missing == []


@pytest.mark.parametrize("file", READMES)
def test_links_lead_somewhere(file: str) -> None:
    assert [target for target in sorted(links_in(file)) if not (ROOT / target).exists()] == []


def _with_url(text: str, server: RunningServer) -> str:
    return HOSTS.sub(server.url.removeprefix("http://"), text)


def _make_picture(path: Path, server: RunningServer) -> None:
    """A picture with parameters inside it, as a reader has one."""
    asked = {"prompt": "a boat", "width": 64, "height": 64, "steps": 2, "response_format": "png"}
    answer = httpx.post(f"{server.url}/api/v1/generate", json=asked, timeout=60)
    path.write_bytes(answer.raise_for_status().content)


def _exists(method: str | None, path: str, known: dict[str, set[str]], server: RunningServer) -> bool:
    """Whether the OpenAPI document has the route, or routes below it, or else the server answers it."""
    plain = re.sub(r"{[^}]+}", "{}", path).rstrip("/*…") or "/"
    for name in (plain, plain.removeprefix("/api")):  # ComfyUI's routes are also under /api
        if name in known:
            return method is None or method in known[name]
        if method is None and any(route.startswith(name + "/") for route in known):
            return True
    return httpx.request(method or "GET", server.url + plain, timeout=60).status_code != 404 or _is_websocket(
        plain, server
    )


def _is_websocket(path: str, server: RunningServer) -> bool:
    try:
        websocket.create_connection(server.url.replace("http", "ws", 1) + path, timeout=60).close()
    except websocket.WebSocketException:
        return False
    return True
