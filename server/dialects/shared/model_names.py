"""Models as callers name them: by a checkpoint's name, or by an alias from the settings. Knows no dialect."""

from __future__ import annotations

from server.dialects.shared.reader import Found, ensure_known
from server.web.services import Services


def with_model(found: Found, services: Services) -> Found:
    """Return ``found`` with the name of the checkpoint where the call names an alias; an empty name is none at all.

    Raises ``UnknownCheckpoint``, with the names that are there.
    """
    word, name = found.get("model", ("", None))
    if name == "":
        return {each: value for each, value in found.items() if each != "model"}
    if isinstance(name, str):
        found = {**found, "model": (word, real_name(name, services))}
    ensure_known(found, services.backend.models())
    return found


def real_name(name: str, services: Services) -> str:
    """Return the name of the checkpoint that ``name`` is an alias of, or else ``name`` itself.

    A checkpoint's own name is never an alias of another.
    """
    if any(name in (info.name, info.file) for info in services.backend.models()):
        return name
    return services.settings.model_aliases.get(name, name)
