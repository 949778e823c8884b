"""The engine's README names what there is: samplers, schedulers, ComfyUI classes, settings, rooms and files."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import engine
from engine import EngineConfig
from engine.formats.comfyui.table import ROWS
from engine.request import SAMPLERS, SCHEDULERS

FOLDER = Path(engine.__file__).parent
README = (FOLDER / "README.md").read_text()


def _section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0].split("\n# ")[0]


def _names(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


def test_all_samplers_and_schedulers_are_listed() -> None:
    samplers, schedulers = _section("Samplers and schedulers").split("Schedulers (")
    assert f"Samplers ({len(SAMPLERS)})" in samplers
    assert _names(samplers) == list(SAMPLERS)
    count, listed = schedulers.split("):")
    assert int(count) == len(SCHEDULERS)
    assert _names(listed.split("\n\n")[0]) == list(SCHEDULERS)


def test_all_comfyui_classes_are_listed() -> None:
    listed = _names(_section("ComfyUI classes"))
    assert sorted(listed) == sorted(ROWS)


def test_all_settings_of_an_engine_are_listed() -> None:
    row = next(line for line in _section("Public face").splitlines() if line.startswith("| `EngineConfig`"))
    assert _names(row)[1:] == [field.name for field in dataclasses.fields(EngineConfig)]


def test_every_room_is_listed_and_every_room_that_is_listed_exists() -> None:
    listed = {name.rstrip("/") for name in _names(_section("Rooms")) if name.endswith("/")}
    rooms = {path.parent.name for path in FOLDER.glob("*/__init__.py")}
    assert rooms <= listed
    assert all(list(FOLDER.rglob(f"{name}/__init__.py")) for name in listed)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_lead_to_files(target: str) -> None:
    assert (FOLDER / target).exists()


def test_files_that_are_named_exist() -> None:
    for name in set(re.findall(r"`([\w/]+\.py)`", README)):
        assert list(FOLDER.rglob(name)) or (FOLDER.parent / name).exists(), name
