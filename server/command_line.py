"""Reads the settings of ``python -m server`` from its flags and the environment, and words what is wrong with them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from engine import BadRequest, UnknownCheckpoint
from engine.models import catalog
from server.addresses import has_password
from server.settings import EARLIER_MODELS_FOLDER, PREFIX, Settings

_SECRET = {"api_keys", "database", "webhook_secret"}


class BadSettings(Exception):
    """The server cannot start like this; names each setting, its value and what is allowed."""


def read_settings(flags: Mapping[str, str]) -> Settings:
    """Return the settings of the given flags, by field name, and of the environment. Raises ``BadSettings``."""
    _refuse_misspelt(os.environ)
    if has_password(flags.get("database", "")):
        raise BadSettings(
            "--database: its value is not allowed; the list of processes shows a flag to all users of this machine: "
            f"give the URL with its password as {PREFIX}DATABASE, or keep the password in ~/.pgpass"
        )
    given: dict[str, Any] = {name: None if text == "none" else text for name, text in flags.items()}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise BadSettings("; ".join(_described(error, given))) from None
    try:
        config = settings.engine_config()
        if settings.backend == "engine":
            catalog.file_of(config.checkpoint, config.models_folders)
    except UnknownCheckpoint as error:
        raise BadSettings(f"{_origin('model', given)}: {error}") from None
    except BadRequest as error:
        raise BadSettings(f"{_origin(error.field, given)}: {error}") from None
    return settings


def _refuse_misspelt(environment: Mapping[str, str]) -> None:
    """Refuse a variable that is almost a setting; others under our prefix may be another program's."""
    names = [PREFIX + name.upper() for name in Settings.model_fields] + [EARLIER_MODELS_FOLDER]
    for variable in environment:
        if variable.startswith(PREFIX) and variable not in names:
            nearest = difflib.get_close_matches(variable, names, n=1, cutoff=0.85)
            if nearest:
                raise BadSettings(f"{variable}: there is no such setting; did you mean {nearest[0]}?")


def _described(error: ValidationError, flags: Mapping[str, object]) -> Iterable[str]:
    for item in error.errors(include_url=False):
        reason = item["msg"].removeprefix("Value error, ")
        if not item["loc"]:
            yield reason
            continue
        name = str(item["loc"][0])
        shown: Any = "its value" if name in _SECRET else repr(item["input"])
        yield f"{_origin(name, flags)}: {shown} is not allowed; {reason[0].lower()}{reason[1:]}"


def _origin(name: str, flags: Mapping[str, object]) -> str:
    return "--" + name.replace("_", "-") if name in flags else PREFIX + name.upper()
