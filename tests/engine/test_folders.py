"""Where files lie: in a checkout, and for an installed package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine import EngineConfig, folders

NAME = "stable-diffusion-engine"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The shipped folder of an engine that lies in site-packages; the user's home is ``tmp_path``."""
    shipped = tmp_path / "site-packages" / "models"
    shipped.mkdir(parents=True)
    monkeypatch.setattr(folders, "SHIPPED_MODELS", shipped)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return shipped


def test_a_checkout_keeps_its_files() -> None:
    project = Path(__file__).parents[2]
    assert folders.models_folders() == (project / "models",)
    assert folders.data_folder() == Path("data")
    assert EngineConfig().models_folders == (project / "models",)


@pytest.mark.skipif(sys.platform != "linux", reason="names the folders that Linux has")
def test_an_installed_package_keeps_files_where_linux_keeps_a_users_data(installed: Path, tmp_path: Path) -> None:
    data = tmp_path / ".local" / "share" / NAME
    assert folders.data_folder() == data
    assert folders.cache_folder() == tmp_path / ".cache" / NAME
    assert folders.models_folders() == EngineConfig().models_folders == (data / "models", installed)


@pytest.mark.skipif(sys.platform != "linux", reason="XDG is Linux's")
def test_xdg_variables_name_other_places(installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert folders.data_folder() == tmp_path / "d" / NAME
    assert folders.cache_folder() == tmp_path / "c" / NAME
    assert folders.models_folders() == (tmp_path / "d" / NAME / "models", installed)


@pytest.mark.skipif(sys.platform != "linux", reason="expands ~ as Linux does")
def test_a_user_without_a_home_has_no_cache_and_data_in_the_current_folder(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pwd

    def unknown(user: int) -> object:
        raise KeyError(user)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert folders.cache_folder() is None
    assert folders.data_folder() == Path("data")


def test_what_ships_is_there() -> None:
    files = {file.name for file in folders.SHIPPED_MODELS.iterdir()}
    assert {"catalog.toml", "starter.safetensors"} <= files
