"""The tags of LoRAs in the prompts of a call whose files are not there, which AUTOMATIC1111 leaves out."""

from __future__ import annotations

from engine.text.a1111.networks import only_known
from server.backends.protocol import Backend
from server.dialects.sdapi.body import Generation
from server.dialects.sdapi.files import file_named
from server.problems import Problem

_PROMPTS = ("prompt", "hr_prompt")


def without_missing(body: Generation, backend: Backend) -> Generation:
    """Return the call without the tags of LoRAs that the models folders do not have."""
    prompts = {name: text for name in _PROMPTS if (text := getattr(body, name, None)) and "<" in text}
    if not prompts:
        return body
    files = backend.files("loras")
    aliases = {file.alias for file in files if file.alias}

    def known(name: str) -> bool:
        try:
            return name in aliases or bool(file_named(name, files, "prompt"))
        except Problem:
            return False

    return body.model_copy(update={name: only_known(text, known) for name, text in prompts.items()})
