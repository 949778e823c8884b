"""The server's README names every setting with its default, native route, metric, dialect and room."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import server
from server.app import create_app
from server.dialects.registry import DIALECTS
from server.observing.metrics import Metrics, Now
from server.settings import PREFIX, Settings

FOLDER = Path(server.__file__).parent
README = (FOLDER / "README.md").read_text(encoding="utf-8")
WORDED = {"public_url", "model", "models_folders", "cache_folder", "database", "outputs", "inputs"}
WORDED |= {"max_body_bytes", "max_input_bytes", "input_quota"}
"""Settings whose default is put in words, or depends on where the server is installed."""
STATUS = dict.fromkeys(
    ("ticks", "evaluations", "in_flight", "memory_total", "memory_free", "memory_used", "resident"), 0
)


def _section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0].split("\n# ")[0]


def _shown(default: object) -> str:
    if default is None or default in ((), {}):
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:.10g}" if isinstance(default, float) else str(default)


def test_every_setting_has_its_line_with_its_default_and_description() -> None:
    rows = {
        row[0].strip(" `"): (row[1].strip(), row[2].strip())
        for row in (line.strip("|").split("|") for line in _section("Settings").splitlines() if line.startswith("| `"))
    }
    assert list(rows) == [PREFIX + name.upper() for name in Settings.model_fields]
    for name, field in Settings.model_fields.items():
        default, description = rows[PREFIX + name.upper()]
        assert description == field.description
        if name not in WORDED:
            assert default.split(" (")[0] == _shown(field.get_default(call_default_factory=True, validated_data={}))


def test_every_native_route_is_listed_with_its_method() -> None:
    listed = set(re.findall(r"`(GET|POST|DELETE) (/api/v1/[^`]+)`", _section("Routes")))
    paths = create_app(Settings(backend="instant", database=Path(":memory:"))).openapi()["paths"]
    known = {(method.upper(), path) for path in paths if path.startswith("/api/v1/") for method in paths[path]}
    assert listed == known


def test_every_metric_is_listed() -> None:
    metrics = Metrics()
    page = metrics.page(Now(status=STATUS)).decode()
    known = set(re.findall(r"^# TYPE (\S+) (?:counter|gauge|histogram)$", page, re.MULTILINE))
    listed = set(re.findall(r"`(sd_\w+)`", _section("Metrics")))
    assert listed == {name for name in known if not name.endswith("_created")}


def test_every_dialect_and_room_is_listed() -> None:
    rooms = _section("Rooms")
    listed = set(re.findall(r"(\w+)/", rooms))
    assert {dialect.name for dialect in DIALECTS} <= listed
    found = {path.parent.name for path in FOLDER.glob("*/__init__.py")} | {"page"}
    assert found <= set(re.findall(r"^\| `(\w+)/`", rooms, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+\.py)`", README))))
def test_files_that_are_named_exist(name: str) -> None:
    assert list(FOLDER.rglob(name)) or (FOLDER.parent / name).exists()
