"""What ``import engine`` costs, and what it leaves of the interpreter's settings."""

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
    told = _run(
        "import json, sys, engine; before = 'torch' in sys.modules; engine.GenerationRequest; "
        "still = 'torch' in sys.modules; engine.Engine; print(json.dumps([before, still, 'torch' in sys.modules]))"
    )
    assert told == [False, False, True]


@pytest.mark.parametrize("wanted", [True, False])
def test_collector_leaves_modules_alone_and_is_as_it_was(wanted: bool) -> None:
    told = _run(
        f"""
import gc, json
starts = []
gc.callbacks.append(lambda phase, info: starts.append(phase))
import engine
{"gc.enable()" if wanted else "gc.disable()"}
frozen = gc.get_freeze_count()
starts.clear()
engine.Engine
print(json.dumps({{
    "collections": starts.count("start"),
    "enabled": gc.isenabled(),
    "looks through": len(gc.get_objects()),
    "leaves alone": gc.get_freeze_count() - frozen,
}}))
"""
    )
    assert told["collections"] == 1  # of what was garbage already
    assert told["enabled"] is wanted
    assert isinstance(told["leaves alone"], int)
    assert isinstance(told["looks through"], int)
    assert told["leaves alone"] > 100 * told["looks through"]


def test_what_exists_when_the_engine_is_used_again_can_be_collected() -> None:
    told = _run(
        """
import gc, json, weakref, engine

class Node: ...

engine.Engine
frozen = gc.get_freeze_count()
mine = Node()
mine.self = mine
seen = weakref.ref(mine)
engine.Engine, engine.GenerationResult, engine.Progress
from engine import Engine, Handle
del mine
gc.collect()
print(json.dumps({"collected": seen() is None, "frozen since": gc.get_freeze_count() - frozen}))
"""
    )
    assert told["collected"]
    assert told["frozen since"] <= 0


def test_collector_is_as_it_was_after_an_import_that_fails() -> None:
    told = _run(
        """
import gc, json, sys, engine
sys.modules["torch"] = None
try:
    engine.Engine
except ImportError:
    print(json.dumps({"enabled": gc.isenabled()}))
"""
    )
    assert told == {"enabled": True}


def test_unknown_name_is_an_attribute_error() -> None:
    import engine

    with pytest.raises(AttributeError, match="Motor"):
        engine.Motor  # noqa: B018
