"""The recorded results of AUTOMATIC1111 in ``tests/parity_a1111``: one ``A1111Case`` for each case."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.request_parts import PromptReading

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(__file__).parent / "parity_a1111"

CHECKPOINT = "parity64"
"""Of the cases that name none."""

_PICTURES = ("init_images", "mask")


@dataclass(frozen=True, kw_only=True)
class A1111Case:
    """A call of AUTOMATIC1111's API, or a question to one of its parts, and what came of it."""

    name: str
    kind: str
    """``txt2img``, ``img2img``, ``prompt``, ``noise``, ``brownian`` or ``sigmas``."""
    feature: str
    about: str
    payload: Mapping[str, Any]
    """The body of the call, without what is null; its pictures are names of files."""
    result: Mapping[str, Any]
    records: tuple[str, ...] = ()
    conditioning: Mapping[str, str] = field(default_factory=dict)
    """Label → the name of a recorded conditioning."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that the call overrides."""
        settings: Mapping[str, Any] = self.payload.get("override_settings") or {}
        return settings

    def body(self, pictures: Path) -> dict[str, Any]:
        """Return the body to post, with the files of the folder ``pictures`` in base64."""
        body = {name: value for name, value in self.payload.items() if name != "checkpoint"}
        body["override_settings"] = {**self.settings, "sd_model_checkpoint": self.payload.get("checkpoint", CHECKPOINT)}
        for name in _PICTURES:
            if isinstance(value := body.get(name), str):
                body[name] = _in_base64(pictures / value)
            elif value is not None:
                body[name] = [_in_base64(pictures / each) for each in value]
        return body

    def record(self, kind: str) -> Tensor:
        """What was recorded: ``latents``, ``image``, ``noise``."""
        return _tensors(kind)[self.name]

    def probe(self, label: str) -> Tensor:
        """What was recorded on the way: ``start``, ``sigmas``, …"""
        return _tensors("probes")[f"{self.name}/{label}"]

    def encoded(self, label: str) -> Tensor:
        """The recorded conditioning ``label``, (tokens, 96) of every eighth channel, or of all channels."""
        return _tensors("conditioning")[self.conditioning[label]]

    def levels(self, label: str, steps: int) -> Tensor:
        """The recorded ``sigmas`` or ``timesteps`` of so many steps."""
        return _tensors("sigmas")[f"{self.name}/{label}/{steps}"]


def cases_of(*kinds: str, features: Iterable[str] = ()) -> list[A1111Case]:
    """Return the cases of some kinds, and of some features where any are named, in their order."""
    wanted = set(features)
    return [case for case in _cases() if case.kind in kinds and (not wanted or case.feature in wanted)]


_EMPHASES = {"Original": "original", "No norm": "no_norm", "Ignore": "ignore", "None": "none"}


def reading_of(case: A1111Case) -> PromptReading:
    """Return how the settings of a case have prompts read. AUTOMATIC1111 takes an unknown emphasis for the default."""
    settings = case.settings
    return PromptReading(
        emphasis=_EMPHASES.get(settings.get("emphasis", "Original"), "original"),
        old_emphasis=settings.get("use_old_emphasis_implementation", False),
        comma_backtrack=settings.get("comma_padding_backtrack", 20),
        old_schedules=settings.get("use_old_scheduling", False),
    )


def _in_base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


@functools.cache
def _cases() -> tuple[A1111Case, ...]:
    entries = json.loads((FOLDER / "cases.json").read_text())
    return tuple(
        A1111Case(
            **{
                **entry,
                "payload": {name: value for name, value in entry["payload"].items() if value is not None},
                "records": tuple(entry.get("records") or ()),
            }
        )
        for entry in entries
    )


@functools.cache
def _tensors(kind: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(FOLDER / f"{kind}.safetensors")
