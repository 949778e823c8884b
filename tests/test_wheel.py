"""An installed wheel, without the checkout beside it: its commands work from any folder, offline.

The environment holds the wheel alone; what it depends on comes from the environment that runs the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="expects a user's data where Linux keeps it"),
]

PROJECT = Path(__file__).parents[1]
SOURCES = ("engine", "server", "models", "pyproject.toml", "README.md", "LICENSE")
SMALL = ("a red boat on the sea, day", "--width=64", "--height=64", "--steps=2", "--seed=7", "--device=cpu")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources: setuptools leaves a build folder behind."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / name, copy)
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(copy / "dist"))
    subprocess.run([sys.executable, "-m", "pip", "wheel", ".", *options], cwd=copy, check=True, timeout=300)
    (found,) = (copy / "dist").iterdir()
    return found


class Installed:
    """An environment that the wheel was installed into, and a user with an empty home."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True, timeout=300)
        self.python = str(folder / "venv" / "bin" / "python")
        (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
        pip = ("-m", "pip", "--python", self.python, "install", "--no-deps", "--no-index", "--quiet", str(wheel))
        subprocess.run([sys.executable, *pip], check=True, timeout=300)
        # The .pth files in a folder that a .pth adds are not read, so the checkout stays unknown here.
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.site, self.home, self.elsewhere = site, folder / "home", folder / "elsewhere"
        self.data = self.home / ".local" / "share" / "stable-diffusion-engine"
        self.home.mkdir()
        self.elsewhere.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SD_", "XDG_", "PYTHON"))}
        self.environment = kept | {"HOME": str(self.home), "HF_HUB_OFFLINE": "1"}

    def run(self, *arguments: str) -> str:
        """Run ``python ARGUMENTS`` in another folder, and return its standard output."""
        done = subprocess.run(
            [self.python, *arguments],
            cwd=self.elsewhere,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([self.python, *arguments], cwd=self.elsewhere, env=self.environment)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


def test_the_wheel_holds_the_packages_and_their_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("engine", "server", "models"):
        files = (PROJECT / package).rglob("*.py")
        assert {file.relative_to(PROJECT).as_posix() for file in files} <= names
    page = {file.relative_to(PROJECT).as_posix() for file in (PROJECT / "server" / "page").iterdir()}
    shipped = {f"models/starter{part}.safetensors" for part in ("", "-ink", "-edges")}
    assert {"engine/text/merges.txt", "models/catalog.toml"} | shipped | page <= names
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"engine", "server", "models"}


def test_modules_are_the_installed_ones(installed: Installed) -> None:
    found = installed.run(
        "-c", "import engine, server, models; print(engine.__file__, server.__file__, models.__file__)"
    )
    assert all(Path(file).is_relative_to(installed.site) for file in found.split())


def test_generate_makes_the_picture_that_the_checkout_makes(installed: Installed, tmp_path: Path) -> None:
    (line,) = installed.run("-m", "engine.generate", *SMALL, "--json").splitlines()
    picture = installed.elsewhere / json.loads(line)["path"]
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    ours = subprocess.run(
        [sys.executable, "-m", "engine.generate", *SMALL, "--json", "--out", str(tmp_path)],
        cwd=PROJECT,
        env=installed.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert picture.read_bytes() == Path(json.loads(ours.stdout)["path"]).read_bytes()


def test_models_lists_the_starter_and_brings_files_into_the_users_folder(
    installed: Installed, tiny_checkpoint: Path
) -> None:
    states = _states(installed)
    assert states["starter"]["path"] == str(installed.site / "models" / "starter.safetensors")
    assert str(installed.data / "models") in states["AWPainting_v1.3"]["where"]
    added = installed.run("-m", "engine.models", "add", str(tiny_checkpoint))
    assert added.strip() == str(installed.data / "models" / "tiny.safetensors")
    assert _states(installed)["tiny"]["path"] == added.strip()
    installed.run("-m", "engine.generate", *SMALL, "--model", "tiny")


def _states(installed: Installed) -> dict[str, Any]:
    lines = installed.run("-m", "engine.models", "list", "--json").splitlines()
    return {state["name"]: state for state in map(json.loads, lines)}


def test_the_server_serves_pictures_from_the_users_folder(installed: Installed) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = installed.start("-m", "server", "--port", str(port), "--device", "cpu", "--model", "starter")
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(process, url)
        assert "<html" in httpx.get(url).text
        body = {"prompt": "a red boat", "width": 64, "height": 64, "steps": 2}
        answer = httpx.post(f"{url}/api/v1/generate", json=body, headers={"Accept": "image/png"}, timeout=120)
        assert answer.status_code == 200, answer.text
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert (installed.data / "jobs.sqlite").is_file()
    assert len(list((installed.data / "outputs").glob("*.png"))) == 1
    assert {path.name for path in installed.elsewhere.iterdir()} <= {"output"}


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError("the server did not become ready")
