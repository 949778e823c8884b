"""What the project's commands share: the models flag, and modules that the garbage collector skips."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.command_line import Parser, add_models_flag, chosen_folders
from engine.folders import models_folders


def _run(code: str) -> Any:
    """Run ``code`` in a process of its own, and return what it prints as JSON."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_models_may_be_given_several_times() -> None:
    parser = Parser()
    add_models_flag(parser)
    assert chosen_folders(parser.parse_args([])) == models_folders()
    options = parser.parse_args(["--models", "one", "--models", "two"])
    assert chosen_folders(options) == (Path("one"), Path("two"))
    assert str(models_folders()[-1]) in " ".join(parser.format_help().split())


@pytest.mark.parametrize("wanted", [True, False])
def test_the_collector_skips_what_is_imported_and_is_set_as_before(wanted: bool) -> None:
    found = _run(
        f"""
import gc, json
from engine.command_line import imports_kept_from_collector
starts = []
gc.callbacks.append(lambda phase, info: starts.append(phase))
{"gc.enable()" if wanted else "gc.disable()"}
frozen = gc.get_freeze_count()
starts.clear()
with imports_kept_from_collector():
    from engine import Engine
print(json.dumps({{
    "collections": starts.count("start"),
    "enabled": gc.isenabled(),
    "looks through": len(gc.get_objects()),
    "skips": gc.get_freeze_count() - frozen,
}}))
"""
    )
    assert found["collections"] == 1  # of the garbage from before
    assert found["enabled"] is wanted
    assert found["skips"] > 100 * found["looks through"]


def test_the_collector_is_set_as_before_after_an_import_that_fails() -> None:
    found = _run(
        """
import gc, json, sys
from engine.command_line import imports_kept_from_collector
sys.modules["torch"] = None
try:
    with imports_kept_from_collector():
        from engine import Engine
except ImportError:
    print(json.dumps({"enabled": gc.isenabled()}))
"""
    )
    assert found == {"enabled": True}


def test_objects_from_afterwards_are_collected() -> None:
    found = _run(
        """
import gc, json, weakref
from engine.command_line import imports_kept_from_collector

class Node: ...

with imports_kept_from_collector():
    import engine.engine
mine = Node()
mine.self = mine
seen = weakref.ref(mine)
del mine
gc.collect()
print(json.dumps({"collected": seen() is None}))
"""
    )
    assert found["collected"]


@pytest.mark.parametrize(
    "command",
    [
        "from engine.generate import main; main(['a', '--width=64', '--height=64', '--steps=1', *{flags}])",
        "from server.serving import _import_engine; from server.settings import Settings; _import_engine(Settings())",
    ],
)
def test_commands_keep_the_engines_modules_from_the_collector(
    command: str, models_folder: Path, tmp_path: Path
) -> None:
    flags = ["--model=tiny", f"--models={models_folder}", f"--out={tmp_path}", "--device=cpu"]
    found = _run(
        f"""
import gc, io, json, sys
out, sys.stdout = sys.stdout, io.StringIO()
{command.format(flags=flags)}
print(json.dumps({{"engine": "engine.engine" in sys.modules, "skips": gc.get_freeze_count()}}), file=out)
"""
    )
    assert found["engine"]
    assert found["skips"] > 100_000
