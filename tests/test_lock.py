"""The lock holds one version of each package that the project needs, on every supported Python, for plain pip."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).parents[1]
PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = [
    Requirement(line)
    for line in (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def locked(python: str) -> dict[str, str]:
    """Return name → version on Linux with this Python; fails where a package has two."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.5",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "os_name": "posix",
    }
    versions: dict[str, str] = {}
    for pin in LOCK:
        if pin.marker is None or pin.marker.evaluate(environment):
            assert pin.name not in versions, f"{pin.name} is locked twice on Python {python}"
            versions[pin.name] = str(pin.specifier).removeprefix("==")
    return versions


def test_pins_are_what_pip_takes_as_constraints_on_any_machine() -> None:
    for pin in LOCK:
        assert not pin.extras, f"{pin}: pip refuses extras in constraints"
        assert pin.url is None
        assert re.fullmatch(r"==[^+*,]+", str(pin.specifier)), f"{pin}: one version without a local label such as +cpu"


@pytest.mark.parametrize("python", PYTHONS)
def test_each_requirement_is_locked_to_a_version_that_it_allows(python: str) -> None:
    versions = locked(python)
    extras = PROJECT_TABLE["optional-dependencies"]
    texts = [*PROJECT_TABLE["dependencies"], *extras["bench"], *extras["dev"], *extras["peers"]]
    for requirement in map(Requirement, texts):
        if requirement.name == PROJECT_TABLE["name"]:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"python_version": python}):
            continue
        name = requirement.name.lower().replace("_", "-")
        assert name in versions, f"{requirement} is not in constraints.txt; make update renews it"
        assert requirement.specifier.contains(versions[name]), f"{requirement}: {versions[name]} is locked"


@pytest.mark.parametrize("python", PYTHONS)
def test_what_torch_needs_for_cuda_is_locked_too(python: str) -> None:
    assert {"torch", "triton", "nvidia-cublas", "nvidia-cudnn-cu13", "setuptools"} <= set(locked(python))
