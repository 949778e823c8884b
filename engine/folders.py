"""Decides where files lie: what ships with the engine, and what belongs to the user. Creates nothing.

A checkout keeps models beside its code and data in the current folder. An installed package keeps both where the
platform keeps a user's data: ``$XDG_DATA_HOME`` or ``~/.local/share`` on Linux, ``~/Library/Application Support`` on
macOS, ``%LOCALAPPDATA%`` on Windows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import platformdirs

SHIPPED_MODELS = Path(__file__).resolve().parent.parent / "models"
"""The folder that ships with the engine: the catalog and the starter checkpoint."""

_NAME = "stable-diffusion-engine"


def models_folders() -> tuple[Path, ...]:
    """Return the folders that models are looked for in by default; downloads go into the first."""
    return (SHIPPED_MODELS,) if _in_checkout() else (data_folder() / "models", SHIPPED_MODELS)


def data_folder() -> Path:
    """Return the folder for jobs and pictures: ``data`` in a checkout, and for a user without a home folder."""
    users = _absolute(platformdirs.user_data_path)
    return Path("data") if _in_checkout() or users is None else users


def cache_folder() -> Path | None:
    """Return the user's folder for ``EngineConfig.cache_folder``, or None for a user without a home folder."""
    return _absolute(platformdirs.user_cache_path)


def _absolute(users_folder: Callable[..., Path]) -> Path | None:
    """Ask platformdirs, whose versions differ for a user without a home: an error, or a path that starts with ~."""
    try:
        folder = users_folder(_NAME, appauthor=False)
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None


def _in_checkout() -> bool:
    return (SHIPPED_MODELS.parent / "pyproject.toml").is_file()
