"""What tests share: offline, one thread for each process, two tiny checkpoints and an engine on them."""

from __future__ import annotations

import os
import signal

# Before torch is imported. Tiny networks run slower on several threads, which wait for each other by spinning.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = os.environ.get("TEST_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from engine import Engine, EngineConfig
from tests.checkpoints import write_tiny_checkpoint
from tests.pack import make_files

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what is to run in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # programs that the tests interrupt inherit it

# A busy machine is slow, not wrong.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with two tiny checkpoints, ``tiny`` and ``other``."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_checkpoint(folder / "tiny.safetensors", seed=0)
    write_tiny_checkpoint(folder / "other.safetensors", seed=1)
    return folder


@pytest.fixture(scope="session")
def engine(models_folder: Path) -> Iterator[Engine]:
    """An engine that shares UNet calls exactly: four rows, two pictures."""
    with Engine(EngineConfig(checkpoint="tiny", models_folders=(models_folder,), device="cpu", unet_rows=4)) as engine:
        yield engine


@pytest.fixture(scope="session")
def tiny_checkpoint(models_folder: Path) -> Path:
    return models_folder / "tiny.safetensors"


@pytest.fixture(scope="session")
def pack_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models and pictures that the recorded graphs of ``tests/parity2`` name, in ComfyUI's layout."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    return make_files(shared / "pack")


@pytest.fixture
def open_engine(models_folder: Path) -> Iterator[Callable[..., Engine]]:
    """Makes engines with settings of the test's own, and closes them."""
    engines: list[Engine] = []

    def make(**settings: Any) -> Engine:
        defaults = {"checkpoint": "tiny", "models_folders": (models_folder,), "device": "cpu"}
        engines.append(Engine(EngineConfig(**(defaults | settings))))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
