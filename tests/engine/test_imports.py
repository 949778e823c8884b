"""``import engine`` is cheap, and changes nothing of the process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def _run(code: str) -> Any:
    """What a process of its own prints, as JSON."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_torch_is_imported_with_the_first_engine_and_not_before() -> None:
    found = _run(
        "import json, sys, engine; before = 'torch' in sys.modules; engine.GenerationRequest; "
        "still = 'torch' in sys.modules; engine.Engine; print(json.dumps([before, still, 'torch' in sys.modules]))"
    )
    assert found == [False, False, True]


def test_a_server_that_draws_no_pictures_itself_imports_no_numbers() -> None:
    found = _run(
        "import json, sys, server.serving, server.backends.instant; "
        "print(json.dumps([name for name in ('torch', 'numpy', 'scipy', 'diffusers') if name in sys.modules]))"
    )
    assert found == []


@pytest.mark.parametrize("wanted", [True, False])
def test_importing_leaves_the_process_as_it_was(wanted: bool) -> None:
    """A library changes no settings of its caller's collector or log."""
    found = _run(
        f"""
import gc, json, logging
{"gc.enable()" if wanted else "gc.disable()"}
import engine
engine.Engine
import server.observing.logs, server.serving
server.observing.logs.configure("text", "info")
print(json.dumps({{
    "enabled": gc.isenabled(),
    "frozen": gc.get_freeze_count() > 1000,
    "log": [logging.logThreads, logging.logProcesses, logging.logMultiprocessing],
}}))
"""
    )
    assert found == {"enabled": wanted, "frozen": False, "log": [True, True, True]}


def test_unknown_name_is_an_attribute_error() -> None:
    import engine

    with pytest.raises(AttributeError, match="Motor"):
        engine.Motor  # noqa: B018


@pytest.mark.parametrize("command", ["engine.generate", "engine.models", "server"])
def test_help_is_there_at_once(command: str) -> None:
    """A command's help needs no web framework, no HTTP client, no numbers, and no nodes of formats."""
    heavy = ("torch", "numpy", "PIL", "httpx", "fastapi", "starlette", "engine.formats.comfyui")
    found = _run(
        f"""
import contextlib, io, json, runpy, sys
sys.argv = ["{command}", "--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    runpy.run_module("{command}", run_name="__main__")
print(json.dumps([name for name in {heavy} if name in sys.modules]))
"""
    )
    assert found == []
